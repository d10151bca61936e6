"""The steps of a pending request: none answers it, each is recorded, and few raise the version."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connections

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import decisions, selectors
from approvals.decision_validation import Answer
from approvals.life import claims, deadlines, routing
from approvals.models import Approval, Snooze, Step
from core.db.clock import clock_at
from core.web.problems import Problem
from ledger import unit_of_work
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import NOON, Asked, child

pytestmark = pytest.mark.django_db

LATER = NOON + timedelta(seconds=301)


def act(call: Callable[..., Approval], approval: Approval, by: User, **words: Any) -> Approval:
    return call(approval.project_id, approval.id, Actor.of_user(by), **words)


def refusal(call: Callable[..., Approval], approval: Approval, by: User, **words: Any) -> Problem:
    with pytest.raises(Problem) as refused:
        act(call, approval, by, **words)
    return refused.value


def test_a_claim_says_who_looks_at_it_and_stops_nobody(asked: Asked, alice: User, bob: User) -> None:
    approval = asked()
    claimed = act(claims.claim, approval, alice)
    assert (claimed.claimed_by["user"], claimed.version) == ("alice", approval.version)
    assert refusal(claims.claim, approval, bob).extra["claimed_by"]["user"] == "alice"
    answer = Answer(decision="approve", digest=approval.digest, version=approval.version)
    decided = decisions.decide(approval.project_id, approval.id, answer, Actor.of_user(bob), "admin")
    assert (decided.status, decided.decided_by["user"]) == ("approved", "bob")


def test_a_claim_ends_with_its_lease_by_the_clock_of_the_database(asked: Asked, alice: User, bob: User) -> None:
    approval = asked(now=NOON)
    with clock_at(NOON):
        act(claims.claim, approval, alice)
    with clock_at(NOON + timedelta(seconds=299)):
        assert refusal(claims.claim, approval, bob).type == "claimed"
    with clock_at(LATER):
        assert act(claims.claim, approval, bob).claimed_by["user"] == "bob"
        assert refusal(claims.claim, approval, alice).type == "claimed"


def test_a_claim_is_renewed_and_released_by_its_owner_alone(asked: Asked, alice: User, bob: User) -> None:
    approval = asked()
    first = act(claims.claim, approval, alice, lease_secs=10)
    assert act(claims.claim, approval, alice, lease_secs=20).claimed_until > first.claimed_until
    assert refusal(claims.release, approval, bob).type == "claimed"
    assert act(claims.release, approval, alice).claimed_by is None
    assert act(claims.release, approval, alice).claimed_by is None
    assert act(claims.release, approval, bob).claimed_by is None
    assert act(claims.claim, approval, bob).claimed_by["user"] == "bob"


def test_a_delegated_request_stays_pending_and_its_history_shows_it(asked: Asked, alice: User, bob: User) -> None:
    approval = asked()
    act(claims.claim, approval, alice)
    handed = act(routing.delegate, approval, alice, user="bob", note="you know this host")
    assert (handed.status, handed.assigned_to["name"], handed.claimed_by) == ("pending", "bob", None)
    assert handed.version == approval.version + 1
    step = Step.objects.get(kind="delegated")
    assert (step.by["user"], step.detail["to"]["name"], step.note) == ("alice", "bob", "you know this host")
    answer = Answer(decision="deny", version=handed.version)
    assert decisions.decide(approval.project_id, approval.id, answer, Actor.of_user(bob), "admin").status == "denied"


def test_a_group_can_be_the_target(asked: Asked, alice: User) -> None:
    handed = act(routing.delegate, asked(), alice, group="team of default")
    assert handed.assigned_to == {"kind": "group", "id": str(alice.groups.get().pk), "name": "team of default"}


def test_the_target_must_be_able_to_answer_here(
    asked: Asked, alice: User, viewer: User, stranger: User, project: Project
) -> None:
    approval = asked()
    empty = Group.objects.create(name="empty")
    project.groups.add(empty)
    for target in ({"user": "viewer"}, {"user": "stranger"}, {"user": "nobody"}, {"group": "empty"}, {"group": "x"}):
        errors = refusal(routing.delegate, approval, alice, **target).extra["errors"]
        assert errors == [{"field": next(iter(target)), "detail": routing.NOBODY}]
    assert refusal(routing.delegate, approval, alice).type == "invalid"
    assert refusal(routing.delegate, approval, alice, user="bob", group="x").type == "invalid"
    approval.refresh_from_db()
    assert (approval.assigned_to, approval.version) == (None, 1)


def test_a_person_who_left_is_no_target(asked: Asked, alice: User, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert refusal(routing.delegate, asked(), alice, user="bob").type == "invalid"


def mine(user: User) -> list[Approval]:
    return list(Approval.objects.pending().exclude(selectors.snoozed_by(user.pk)))


def test_a_snooze_is_ones_own_and_ends_by_itself(asked: Asked, alice: User, bob: User) -> None:
    approval = asked(now=NOON)
    with clock_at(NOON):
        after = act(routing.snooze, approval, alice, for_secs=300)
        assert (after.status, after.version) == ("pending", approval.version)
        assert (mine(alice), mine(bob)) == ([], [approval])
        act(routing.snooze, approval, alice, for_secs=0)
        assert mine(alice) == [approval]
        act(routing.snooze, approval, alice, for_secs=300)
    with clock_at(LATER):
        assert mine(alice) == [approval]


def test_a_snooze_never_outlasts_the_request(asked: Asked, alice: User) -> None:
    approval = asked(expires_in_secs=60)
    assert refusal(routing.snooze, approval, alice, for_secs=60).extra["errors"][0]["field"] == "for_secs"
    assert not Snooze.objects.exists()


def test_a_deadline_moves_to_a_later_time_only(asked: Asked, alice: User) -> None:
    approval = asked(expires_in_secs=60, now=NOON)
    with clock_at(NOON):
        assert refusal(deadlines.extend, approval, alice, expires_in_secs=60).type == "invalid"
        moved = act(deadlines.extend, approval, alice, expires_in_secs=600)
    assert (moved.expires_at, moved.version) == (NOON + timedelta(seconds=600), 2)
    with clock_at(LATER):
        assert moved.id in Approval.objects.in_time(LATER).values_list("id", flat=True)


def test_a_deadline_is_bounded_from_the_ask_on(asked: Asked, alice: User) -> None:
    approval = asked(expires_in_secs=400 * 86400, now=NOON)
    with clock_at(NOON + timedelta(days=390)):
        assert refusal(deadlines.extend, approval, alice, expires_in_secs=20 * 86400).type == "invalid"


def test_without_a_deadline_there_is_none_to_extend(asked: Asked, alice: User) -> None:
    assert refusal(deadlines.extend, asked(), alice, expires_in_secs=60).type == "conflict"


def test_an_escalation_ends_snoozes_and_may_name_a_target(asked: Asked, alice: User, bob: User) -> None:
    approval = asked()
    act(routing.snooze, approval, bob, for_secs=60)
    first = act(routing.escalate, approval, alice, note="prod is down")
    second = act(routing.escalate, approval, alice, user="bob")
    assert (first.escalations, first.assigned_to, second.escalations) == (1, None, 2)
    assert (second.assigned_to["name"], second.version, mine(bob)) == ("bob", 3, [approval])


@pytest.mark.django_db(transaction=True)
def test_an_escalation_also_ends_a_snooze_that_is_being_stored(asked: Asked, alice: User, bob: User) -> None:
    approval = asked()

    def escalate() -> None:
        try:
            act(routing.escalate, approval, alice, note="prod is down")
        finally:
            connections.close_all()

    urgent = threading.Thread(target=escalate)
    with unit_of_work.transaction():
        act(routing.snooze, approval, bob, for_secs=60)
        urgent.start()
        # Without a lock it would end here, and not see the snooze.
        urgent.join(0.5)
    urgent.join(30)
    assert not Snooze.objects.exists()


CALLS: list[tuple[Callable[..., Approval], dict[str, Any], str]] = [
    (claims.claim, {}, "claimed"),
    (routing.delegate, {"user": "bob"}, "delegated"),
    (routing.snooze, {"for_secs": 5}, "snoozed"),
    (deadlines.extend, {"expires_in_secs": 600}, "extended"),
    (routing.escalate, {}, "escalated"),
]


@pytest.mark.parametrize(("call", "words", "kind"), CALLS)
def test_each_step_writes_an_event_with_a_reason_and_an_audit_row(
    asked: Asked, alice: User, bob: User, call: Callable[..., Approval], words: dict[str, Any], kind: str
) -> None:
    approval = asked(expires_in_secs=60)
    after = act(call, approval, alice, **words)
    payload = Event.objects.get(type=f"approval_{kind}").payload
    assert (payload["approval_id"], payload["version"]) == (str(approval.id), after.version)
    row = AuditEntry.objects.get(action=f"approval.{kind}")
    assert (row.actor, json.loads(row.detail)["reason"]) == (f"user:{alice.pk}", payload["reason"])
    assert payload["reason"] in ("asked", "by_hand")
    assert Step.objects.get().kind == kind


@pytest.mark.parametrize(("call", "words", "kind"), [*CALLS, (claims.release, {}, "released")])
def test_only_who_may_answer_may_take_a_step(
    asked: Asked,
    alice: User,
    bob: User,
    viewer: User,
    stranger: User,
    call: Callable[..., Approval],
    words: dict[str, Any],
    kind: str,
) -> None:
    approval = asked(expires_in_secs=60)
    assert refusal(call, approval, viewer, **words).type == "not-an-approver"
    with pytest.raises(Problem) as refused:
        call(approval.project_id, approval.id, child(approval.session or approval.id), **words)
    assert refused.value.type == "not-an-approver"
    assert not Step.objects.exists()


@pytest.mark.parametrize(("call", "words", "kind"), [*CALLS, (claims.release, {}, "released")])
def test_an_ended_request_takes_no_step(
    asked: Asked, alice: User, bob: User, call: Callable[..., Approval], words: dict[str, Any], kind: str
) -> None:
    denied, expired = asked(expires_in_secs=60), asked(expires_in_secs=60, now=NOON)
    decisions.decide(denied.project_id, denied.id, Answer(decision="deny"), Actor.of_user(bob), "admin")
    assert refusal(call, denied, alice, **words).type == "already-decided"
    assert refusal(call, expired, alice, **words).type == "expired"
    assert not Step.objects.exists()


def test_a_withdrawal_does_not_depend_on_what_was_shown(
    asked: Asked, alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = asked()
    real = decisions._settle

    def meanwhile(row: Approval, *words: Any, **columns: Any) -> list[Approval]:
        act(routing.escalate, approval, alice)
        return real(row, *words, **columns)

    monkeypatch.setattr(decisions, "_settle", meanwhile)
    withdrawn = decisions.withdraw(approval.project_id, approval.id, child(approval.session or approval.id))
    assert (withdrawn.status, withdrawn.version) == ("cancelled", 2)


def test_a_decision_on_an_older_version_is_refused(asked: Asked, alice: User, bob: User) -> None:
    approval = asked(expires_in_secs=60)
    act(deadlines.extend, approval, alice, expires_in_secs=600)
    answer = Answer(decision="approve", digest=approval.digest, version=approval.version)
    with pytest.raises(Problem) as refused:
        decisions.decide(approval.project_id, approval.id, answer, Actor.of_user(bob), "admin")
    assert (refused.value.type, refused.value.extra["version"]) == ("version-conflict", 2)
