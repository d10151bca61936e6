"""How a consumed action ended: reported, in doubt, or settled by a person."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import attempt_clock, consumption, decisions
from approvals.models import Approval, OutcomeNote
from approvals.outcomes import repeat_warnings, reports, settlement, unknown
from approvals.outcomes.reports import Finished
from core.db.clock import clock_at, later, read_database_clock
from core.limits import LIMITS
from core.web.problems import Problem
from ledger import unit_of_work
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import Asked, child
from tests.approvals.outcomes.conftest import Taken

pytestmark = pytest.mark.django_db


def report(approval: Approval, outcome: str = "ran", actor: Actor | None = None, **said: Any) -> Approval:
    said = {"claim": "mine"} | said
    return reports.report(approval.project_id, approval.id, actor or child(approval.session), outcome=outcome, **said)


def settle(approval: Approval, by: User, settled_as: str, note: str = "I looked") -> Approval:
    actor = Actor.of_user(by)
    return settlement.settle(approval.project_id, approval.id, actor, settled_as=settled_as, note=note)


def refused(call: Any, *args: Any, **words: Any) -> str:
    with pytest.raises(Problem) as refusal:
        call(*args, **words)
    return refusal.value.type


def in_doubt(approval: Approval) -> Approval:
    unknown.attempt_ended(approval.session, approval.attempt, in_order=False)
    approval.refresh_from_db()
    assert approval.outcome == "unknown"
    return approval


def events(type: str) -> list[Any]:
    return [event.payload for event in Event.objects.filter(type=type).order_by("cursor")]


# --- the report of the executor ----------------------------------------------------------------------------------


def test_a_report_is_taken_once_with_an_event_and_an_audit_row(taken: Taken) -> None:
    approval = taken()
    first, again = report(approval, detail="done"), report(approval)
    assert (first.outcome, again.outcome_reported_at) == ("ran", first.outcome_reported_at)
    assert refused(report, approval, "failed") == "already-reported"
    (told,) = events("approval_outcome_reported")
    assert (told["reason"], told["outcome"]) == ("ran", "ran")
    assert AuditEntry.objects.filter(action="approval.outcome_reported").count() == 1
    assert unknown.sweep() == 0


def test_only_the_asker_with_the_claim_reports_and_only_after_the_consumption(
    taken: Taken, approved: Asked, alice: User
) -> None:
    assert refused(report, approved()) == "not-consumed"
    approval = taken()
    assert refused(report, approval, claim="another") == "consumed"
    assert refused(report, approval, claim=None) == "consumed"
    assert refused(report, approval, actor=Actor.of_user(alice)) == "forbidden"
    assert refused(report, approval, probe={"x": "y" * 20_000}) == "invalid"
    approval.refresh_from_db()
    assert approval.outcome is None


def test_a_finished_tool_is_a_report_of_the_only_open_one(taken: Taken, session: UUID) -> None:
    one, other = taken(), taken()
    reports.tools_finished(session, 1, [Finished("shell", True), Finished("another", True)])
    assert not OutcomeNote.objects.exists()
    reports.tools_finished(session, 1, [Finished("shell", False, one.request_id), Finished("shell", True)])
    one.refresh_from_db()
    other.refresh_from_db()
    assert (one.outcome, other.outcome) == ("failed", "ran")
    reports.tools_finished(session, 1, [Finished("shell", False)])
    other.refresh_from_db()
    assert other.outcome == "ran"


# --- no report ---------------------------------------------------------------------------------------------------


def test_an_attempt_that_ends_in_the_middle_leaves_an_unknown_outcome(
    taken: Taken, approved: Asked, session: UUID
) -> None:
    done, open_one, waiting = taken(), taken(), approved()
    report(done)
    unknown.attempt_ended(session, 1, in_order=False)
    outcomes = dict(Approval.objects.values_list("id", "outcome"))
    assert outcomes == {done.id: "ran", open_one.id: "unknown", waiting.id: None}
    (told,) = events("approval_unknown_outcome")
    assert (told["approval_id"], told["reason"]) == (str(open_one.id), "attempt_ended")
    assert AuditEntry.objects.filter(action="approval.unknown_outcome").count() == 1


def test_an_attempt_that_completed_is_in_no_doubt(taken: Taken, session: UUID) -> None:
    approval = taken()
    unknown.attempt_ended(session, 1, in_order=True)
    attempt_clock.settle(session, 1)
    assert unknown.sweep() == 0
    approval.refresh_from_db()
    assert (approval.outcome, approval.outcome_unknown_at) == ("unreported", None)


def test_the_sweep_finds_outcomes_without_a_report_in_time_and_of_ended_attempts(taken: Taken, session: UUID) -> None:
    first = taken()
    late = read_database_clock() + timedelta(seconds=LIMITS.outcome_report_secs)
    with clock_at(late - timedelta(seconds=60)):
        assert unknown.sweep() == 0
    with clock_at(late + timedelta(seconds=1)):
        assert (unknown.sweep(), unknown.sweep()) == (1, 0)
    second = taken()
    attempt_clock.settle(session, 1)
    assert unknown.sweep() == 1
    reasons = [each["reason"] for each in events("approval_unknown_outcome")]
    assert (len({first.id, second.id}), reasons) == (2, ["no_report", "no_report"])


def test_a_report_that_comes_late_ends_the_doubt(taken: Taken) -> None:
    approval = in_doubt(taken())
    reported = report(approval, "failed", detail="exit 3")
    assert (reported.outcome, reported.outcome_settled_as) == ("failed", None)
    assert reported.outcome_unknown_at is not None


def test_an_executor_may_say_that_it_cannot_tell_with_what_it_read_back(taken: Taken) -> None:
    doubted = report(taken(), "unknown", claim=None, detail="lost the claim", probe={"rows": 0})
    assert doubted.outcome == "unknown"
    note = OutcomeNote.objects.get()
    assert (note.kind, note.detail, note.probe) == ("reported", "lost the claim", {"rows": 0})


# --- the settlement of a person ----------------------------------------------------------------------------------


def test_a_person_settles_it_once(taken: Taken, alice: User, bob: User, viewer: User) -> None:
    approval = in_doubt(taken())
    assert refused(settle, approval, viewer, "ran") == "not-an-approver"
    assert refused(settle, approval, alice, "ran", "") == "invalid"
    assert refused(settle, approval, alice, "failed") == "invalid"
    settled = settle(approval, alice, "did_not_run")
    assert (settled.outcome, settled.outcome_settled_as) == ("did_not_run", "did_not_run")
    assert settle(approval, bob, "did_not_run").outcome == "did_not_run"
    assert refused(settle, approval, bob, "ran") == "already-settled"
    note = OutcomeNote.objects.get(kind="settled")
    assert (note.by["user"], note.note) == ("alice", "I looked")
    (told,) = events("approval_outcome_settled")
    assert told["reason"] == "did_not_run"
    (entry,) = AuditEntry.objects.filter(action="approval.outcome_settled")
    assert "I looked" not in json.dumps(entry.detail)


def test_only_an_outcome_in_doubt_is_settled(taken: Taken, alice: User) -> None:
    approval = taken()
    assert refused(settle, approval, alice, "ran") == "not-unknown"
    report(approval)
    assert refused(settle, approval, alice, "did_not_run") == "not-unknown"


def test_a_true_report_after_the_settlement_is_kept_beside_it(taken: Taken, alice: User) -> None:
    approval = in_doubt(taken())
    settle(approval, alice, "did_not_run")
    late = report(approval, "ran")
    assert (late.outcome, late.outcome_settled_as) == ("ran", "did_not_run")
    assert list(OutcomeNote.objects.values_list("kind", flat=True)) == ["missed", "settled", "reported"]


# --- the same action again ---------------------------------------------------------------------------------------


def test_only_did_not_run_lets_the_same_action_be_asked_again_without_a_warning(
    taken: Taken, asked: Asked, alice: User
) -> None:
    assert asked().repeat_warning is None
    first = in_doubt(taken())
    again = asked()
    assert again.repeat_warning == {
        "approval_id": str(first.id),
        "outcome": "unknown",
        "settled_as": None,
        "consumed_at": again.repeat_warning["consumed_at"],
    }
    assert events("approval_requested")[-1]["repeats"] == str(first.id)
    for other in ({"arguments": {"command": "ls"}}, {"tool_name": "sh"}, {"permission": "p"}, {"resource": "r"}):
        assert asked(**other).repeat_warning is None
    settle(first, alice, "did_not_run")
    assert asked().repeat_warning is None
    report(first, "ran")
    assert asked().repeat_warning["outcome"] == "ran"


def test_an_action_that_is_settled_as_run_is_warned_about(taken: Taken, asked: Asked, alice: User) -> None:
    first = in_doubt(taken())
    settle(first, alice, "ran")
    assert asked().repeat_warning["settled_as"] == "ran"


def test_an_action_that_was_reported_may_be_asked_again(taken: Taken, asked: Asked, project: Project) -> None:
    report(taken())
    assert asked().repeat_warning is None
    report(in_doubt(taken()))
    assert asked().repeat_warning is None


# --- who may not decide may not settle, and who took it reports -----------------------------------------------------


def test_who_may_not_decide_it_may_not_settle_it(taken: Taken, alice: User, bob: User) -> None:
    approval = in_doubt(taken())
    Approval.objects.filter(pk=approval.pk).update(four_eyes=True, terms={"owners": [alice.pk]})
    assert refused(settle, approval, alice, "did_not_run") == "self-approval"
    named = {"approvers": [{"users": ["bob"], "groups": []}]}
    Approval.objects.filter(pk=approval.pk).update(four_eyes=False, terms=named)
    assert refused(settle, approval, alice, "did_not_run") == "not-an-approver"
    assert settle(approval, bob, "did_not_run").outcome == "did_not_run"


def test_an_approver_that_took_it_to_run_reports_its_end(approved: Asked, alice: User, bob: User) -> None:
    approval = approved()
    runner = Actor.of_user(bob)
    consumption.consume(approval.project_id, approval.id, digest=approval.digest, claim="mine", actor=runner)
    assert refused(report, approval, actor=Actor.of_user(alice)) == "forbidden"
    assert refused(report, approval, actor=runner, claim="another") == "consumed"
    assert report(approval, actor=runner).outcome == "ran"


def test_an_event_without_a_name_counts_for_no_run_of_a_key(
    project: Project, approved: Asked, session: UUID, alice: User
) -> None:
    asker = Actor.of_user(alice)
    approval = approved(via="rest", actor=asker)
    consumption.consume(project.pk, approval.id, digest=approval.digest, claim="mine", actor=asker)
    reports.tools_finished(session, 1, [Finished("shell", ok=True)])
    approval.refresh_from_db()
    assert approval.outcome is None
    assert report(approval, actor=asker).outcome == "ran"


def test_a_pending_repeat_loses_its_warning_when_the_earlier_run_did_not_happen(
    taken: Taken, asked: Asked, alice: User
) -> None:
    first, other = in_doubt(taken()), in_doubt(taken())
    repeat = asked()
    assert repeat.repeat_warning is not None
    warned_of = {str(first.id): first, str(other.id): other}
    newest = warned_of.pop(repeat.repeat_warning["approval_id"])
    [older] = warned_of.values()
    settle(newest, alice, "did_not_run")
    repeat.refresh_from_db()
    # Another run of the same action is still in doubt.
    assert repeat.repeat_warning is not None and repeat.repeat_warning["approval_id"] == str(older.id)
    settle(older, alice, "did_not_run")
    repeat.refresh_from_db()
    assert (repeat.repeat_warning, repeat.version) == (None, 3)
    assert [told["repeats"] for told in events("approval_repeat_settled")] == [str(older.id), None]


def test_a_run_that_happened_leaves_the_warning(taken: Taken, asked: Asked, alice: User) -> None:
    first = in_doubt(taken())
    repeat = asked()
    settle(first, alice, "ran")
    repeat.refresh_from_db()
    assert repeat.repeat_warning is not None and repeat.version == 1


def test_a_pending_request_is_warned_when_an_earlier_run_of_its_action_becomes_doubtful(
    taken: Taken, asked: Asked, alice: User
) -> None:
    first, repeat, other = taken(), asked(), asked(arguments={"command": "ls"})
    assert repeat.repeat_warning is None
    in_doubt(first)
    repeat.refresh_from_db()
    other.refresh_from_db()
    assert (repeat.repeat_warning["approval_id"], repeat.version) == (str(first.id), 2)
    assert (other.repeat_warning, other.version) == (None, 1)
    [told] = events("approval_repeat_settled")
    assert (told["repeats"], told["reason"]) == (str(first.id), "unknown")
    settle(first, alice, "did_not_run")
    repeat.refresh_from_db()
    assert (repeat.repeat_warning, repeat.version) == (None, 3)


def test_a_request_that_was_stored_while_a_run_became_doubtful_is_warned_by_the_sweep(
    taken: Taken, asked: Asked
) -> None:
    first, repeat, old, settled = taken(), asked(), asked(), asked()
    asked(arguments={"command": "ls"})
    in_doubt(first)
    # Of two transactions at once neither saw the other.
    Approval.objects.exclude(pk=first.pk).update(repeat_warning=None)
    Approval.objects.filter(pk=old.pk).update(requested_at=later(-repeat_warnings.MISSED_SECS - 1))
    decisions.withdraw(settled.project_id, settled.id, child(settled.session))
    told = len(events("approval_repeat_settled"))
    assert (repeat_warnings.sweep(), repeat_warnings.sweep()) == (1, 0)
    warnings = dict(Approval.objects.exclude(repeat_warning=None).values_list("pk", "repeat_warning__approval_id"))
    assert warnings == {repeat.pk: str(first.id)}
    [one] = events("approval_repeat_settled")[told:]
    assert (one["approval_id"], one["reason"]) == (str(repeat.id), "unknown")


def test_the_warnings_that_one_doubt_gives_are_bounded(
    taken: Taken, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeat_warnings, "MOST", 1)
    first, repeats = taken(), [asked(), asked()]
    in_doubt(first)
    assert Approval.objects.exclude(repeat_warning=None).count() == 1
    # The rest follows, as it does after a race.
    assert repeat_warnings.sweep() == 1
    assert Approval.objects.exclude(repeat_warning=None).count() == len(repeats)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("sqlite" in settings.DATABASES["default"]["ENGINE"], reason="SQLite has one writer at a time")
def test_an_ask_and_a_doubt_at_once_end_in_a_warning(taken: Taken, asked: Asked) -> None:
    first, asked_now, may_commit = taken(), threading.Event(), threading.Event()
    asks: list[Approval] = []

    def ask() -> None:
        with unit_of_work.transaction():
            asks.append(asked())
            asked_now.set()
            assert may_commit.wait(20)
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    assert asked_now.wait(20)
    try:
        with unit_of_work.transaction():
            assert unknown.become_unknown(first, Actor.system("tests"), "no_report")
    finally:
        may_commit.set()
    thread.join(20)
    [repeat] = asks
    repeat.refresh_from_db()
    assert repeat.repeat_warning is None, "the race did not happen"
    assert repeat_warnings.sweep() == 1
