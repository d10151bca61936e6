"""Rows are deleted at their age, in batches, and others stay."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest

from accounts.actors import Actor
from accounts.models import IdempotencyKey
from approvals import decisions
from approvals.models import Approval
from core.db.clock import clock_at, later, read_database_clock
from ledger import feed, quota
from ledger.models import AuditEntry, Downtime, Event, Head, Kept, OutboxEntry, SkippedRow
from mailbox import claims, delivery, quarantine, session_inbox
from mailbox.envelope import NewMessage
from mailbox.models import Message, Quarantined
from mailbox.store import receipts
from orchestration.maintenance import retention
from orchestration.models import Cancellation, Session, WebProcess
from orchestration.sessions import cancel, lifecycle
from orchestration.states import Status
from tests.orchestration import stages

pytestmark = pytest.mark.django_db


def days(count: float) -> Any:
    return read_database_clock() + timedelta(days=count)


def post(session: Session, id: str) -> None:
    message = NewMessage(message_kind="task", body={"text": "x"}, id=id)
    delivery.deliver(session.project_id, session.address, [message])


def left() -> set[str]:
    return set(Message.objects.values_list("message_id", flat=True))


def test_admitted_messages_go_after_a_week_and_unread_ones_do_not() -> None:
    session = stages.running()
    post(session, "read")
    post(session, "unread")
    session_inbox.admit(session.project_id, session.address, ["read"], 1)
    with clock_at(days(6.9)):
        retention.sweep()
    assert left() == {"read", "unread"}
    with clock_at(days(7.1)):
        retention.sweep()
    assert left() == {"unread"}


def test_a_round_goes_on_for_as_long_as_it_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    session = stages.running()
    for number in range(60):
        post(session, str(number))
        session_inbox.admit(session.project_id, session.address, [str(number)], 1)
    monkeypatch.setattr(retention, "BATCH", 1)
    monkeypatch.setattr(retention, "SHARE_SECS", 0)
    with clock_at(days(7.1)):
        retention.sweep()
    assert len(left()) == 59
    monkeypatch.undo()
    monkeypatch.setattr(retention, "BATCH", 1)
    with clock_at(days(7.1)):
        retention.sweep()
    assert not left()


def test_unread_messages_go_a_month_after_their_session_ended_and_no_others() -> None:
    over, going_on = stages.ended(), stages.running()
    post(over, "dead")
    post(going_on, "waiting")
    delivery.deliver(over.project_id, "inbox", [NewMessage(message_kind="task", body={"text": "x"}, id="plain")])
    with clock_at(days(29.9)):
        retention.sweep()
    assert left() == {"dead", "waiting", "plain"}
    with clock_at(days(30.1)):
        retention.sweep()
    assert left() == {"waiting", "plain"}


def test_an_unread_message_stays_a_month_also_when_it_came_after_the_end_of_its_session() -> None:
    over = stages.ended()
    with clock_at(days(20)):
        post(over, "late")
    with clock_at(days(49.9)):
        retention.sweep()
    assert left() == {"late"}
    with clock_at(days(50.1)):
        retention.sweep()
    assert not left()


def test_an_old_unread_message_stays_until_a_month_after_the_end_of_its_session() -> None:
    session = stages.running()
    post(session, "unread")
    with clock_at(days(20)):
        lifecycle.finish(session.pk, 1, Status.COMPLETED)
    with clock_at(days(49.9)):
        retention.sweep()
    assert left() == {"unread"}
    with clock_at(days(50.1)):
        retention.sweep()
    assert not left()


def test_events_of_no_session_go_after_a_month() -> None:
    quarantine.put(stages.project().pk, b"broken", "rest", "not JSON")
    ours = Event.objects.filter(type="message_quarantined", session=None)
    with clock_at(days(29)):
        retention.sweep()
    assert ours.count() == 1
    with clock_at(days(31)):
        retention.sweep()
    assert not ours.exists()


def test_events_go_after_a_month_but_not_those_of_what_goes_on() -> None:
    over, going_on = stages.ended(), stages.running()
    with clock_at(days(29)):
        retention.sweep()
    assert Event.objects.filter(session=over.pk).exists()
    with clock_at(days(31)):
        retention.sweep()
    assert not Event.objects.filter(session=over.pk).exists()
    assert Event.objects.filter(session=going_on.pk).exists()


def test_what_a_session_was_made_to_keep_is_counted_until_a_month_after_its_end() -> None:
    over, going_on = stages.running(), stages.running()
    for session in (over, going_on):
        quota.keep(session.pk, "x")
    lifecycle.finish(over.pk, 1, Status.COMPLETED)
    with clock_at(days(29.9)):
        retention.sweep()
    assert Kept.objects.count() == 2
    with clock_at(days(30.1)):
        retention.sweep()
    assert list(Kept.objects.values_list("pk", flat=True)) == [going_on.pk]


def cancelled_tree() -> Cancellation:
    """A tree of four that was cancelled as a large one is."""
    top = stages.running()
    for _ in range(3):
        stages.queued(parent=top.pk)
    cancel.cancel(stages.project(), top.pk, "enough", stages.ACTOR)
    return Cancellation.objects.get(top=top)


def test_a_cancel_goes_a_month_after_its_end_and_its_sessions_stay(
    timings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    timings(cancel_at_once_sessions=1)
    done, going_on = cancelled_tree(), cancelled_tree()
    cancel.work(done.pk, 60)
    monkeypatch.setattr(retention, "BATCH", 2)
    with clock_at(days(29.9)):
        retention.sweep()
    assert Cancellation.objects.count() == 2
    with clock_at(days(30.1)):
        retention.sweep()
    assert list(Cancellation.objects.all()) == [going_on]
    assert Session.objects.filter(root=done.top_id, cancellation=None).count() == 4
    assert Session.objects.filter(cancellation=going_on).count() == 1


def test_a_cancel_of_a_very_large_tree_goes_in_several_rounds(timings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    timings(cancel_at_once_sessions=1)
    row = cancelled_tree()
    cancel.work(row.pk, 60)
    monkeypatch.setattr(retention, "BATCH", 3)
    monkeypatch.setattr(retention, "SHARE_SECS", 0)
    with clock_at(days(30.1)):
        retention.sweep()
    assert Session.objects.filter(cancellation=row).count() == 1
    with clock_at(days(30.1)):
        retention.sweep()
    assert not Cancellation.objects.exists()


def test_a_reader_whose_next_event_is_gone_is_told_so() -> None:
    session = stages.ended()
    assert not feed.beyond(session.project_id, 1).resync
    with clock_at(days(31)):
        retention.sweep()
    assert feed.beyond(session.project_id, 1).resync


def test_a_reader_is_still_told_so_when_older_events_go_after_younger_ones() -> None:
    late, over = stages.running(), stages.ended()
    with clock_at(days(31)):
        retention.sweep()
    horizon = Head.objects.get(pk=over.project_id).oldest
    assert Event.objects.filter(session=late.pk).latest("cursor").cursor < horizon
    lifecycle.finish(late.pk, 1, Status.COMPLETED)
    Event.objects.filter(session=late.pk, cursor__gt=horizon).update(at=days(32))
    with clock_at(days(33)):
        retention.sweep()
    assert not Event.objects.filter(session=late.pk, cursor__lt=horizon).exists()
    assert Head.objects.get(pk=over.project_id).oldest == horizon


def test_answers_and_outbox_rows_go_when_nobody_asks_for_them(owner: Any) -> None:
    order = {"role": "runbook", "assignment": "echo"}
    owner.post("/api/v1/sessions", order, format="json", headers={"Idempotency-Key": "k"})
    with clock_at(days(0.9)):
        retention.sweep()
    assert IdempotencyKey.objects.count() == 1
    with clock_at(days(1.1)):
        retention.sweep()
    assert IdempotencyKey.objects.count() == 0
    OutboxEntry.objects.update(sent_at=read_database_clock())
    with clock_at(days(6.9)):
        retention.sweep()
    assert OutboxEntry.objects.count() == 1
    with clock_at(days(7.1)):
        retention.sweep()
    assert OutboxEntry.objects.count() == 0
    assert Session.objects.count() == 1


def test_an_outbox_row_that_was_not_sent_stays() -> None:
    stages.queued()
    assert OutboxEntry.objects.filter(sent_at=None).count() == 1
    with clock_at(days(4000)):
        retention.sweep()
    assert OutboxEntry.objects.count() == 1


def test_a_web_process_without_attempts_stays_for_a_day() -> None:
    WebProcess.objects.create(host="a", pid=1)
    with clock_at(days(0.9)):
        retention.sweep()
    assert WebProcess.objects.count() == 1
    with clock_at(days(1.1)):
        retention.sweep()
    assert not WebProcess.objects.exists()


@pytest.mark.parametrize(("longest_days", "kept_days"), [(1, 60), (40, 80)])
def test_an_outage_is_known_for_twice_the_longest_run_or_two_months(
    timings: Any, longest_days: int, kept_days: int
) -> None:
    timings(max_total_secs=longest_days * 86400)
    Downtime.objects.create(began_at=days(-1), ended_at=days(0))
    with clock_at(days(kept_days - 0.1)):
        retention.sweep()
    assert Downtime.objects.count() == 1
    with clock_at(days(kept_days + 0.1)):
        retention.sweep()
    assert not Downtime.objects.exists()


def test_a_web_process_stays_while_its_heartbeat_still_says_something() -> None:
    session = stages.running()
    old = WebProcess.objects.create(host="a", pid=1)
    stages.set_attempt(session, web_process=old)
    WebProcess.objects.create(host="b", pid=2)
    with clock_at(days(2)):
        retention.sweep()
    assert list(WebProcess.objects.all()) == [old]
    lifecycle.finish(session.pk, 1, Status.COMPLETED)
    with clock_at(days(2)):
        retention.sweep()
    assert not WebProcess.objects.exists()


def test_one_kind_that_fails_stops_no_other_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    over = stages.ended()

    def failing(*_: object) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(receipts, "due", failing)
    with clock_at(days(31)), pytest.raises(ValueError, match="odd"):
        retention.sweep()
    assert not Event.objects.filter(session=over.pk).exists()


def test_it_goes_on_over_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    session = stages.ended()
    for number in range(10):
        post(session, f"m{number}")
    with clock_at(days(31)):
        retention.sweep()
    assert left() == set()


def test_logs_of_supervisors_that_are_long_gone_go(settings: Any, tmp_path: Any) -> None:
    settings.DATA_FOLDER = tmp_path
    folder = tmp_path / "supervisors"
    folder.mkdir()
    old, kept, fresh = (folder / f"{name}.log" for name in ("old", "kept", "fresh"))
    for log in (old, kept, fresh):
        log.touch()
    (folder / "kept.json").touch()
    os.utime(old, (0, 0))
    os.utime(kept, (0, 0))
    (folder / "removed-meanwhile.log").symlink_to("nowhere")
    retention.sweep()
    assert sorted(log.name for log in folder.glob("*.log")) == ["fresh.log", "kept.log", "removed-meanwhile.log"]
    assert not SkippedRow.objects.exists()


def test_settled_quarantine_goes_after_a_month_and_what_waits_never_does() -> None:
    project = stages.project().pk
    rows = [quarantine.put(project, b"broken", "rest", "not JSON", message_id=name) for name in ("out", "waiting")]
    good = quarantine.put(project, b'{"message_kind": "task", "body": "x", "id": "in"}', "rest", "why", address="desk")
    quarantine.discard(rows[0].pk, stages.ACTOR, "not ours")
    quarantine.requeue(good.pk, stages.ACTOR)
    with clock_at(days(29.9)):
        retention.sweep()
    assert Quarantined.objects.count() == 3
    with clock_at(days(30.1)):
        retention.sweep()
    assert list(Quarantined.objects.values_list("message_id", flat=True)) == ["waiting"]
    assert left() == {"in"}
    with clock_at(days(4000)):
        retention.sweep()
    assert Quarantined.objects.get().state == "waiting"


def expect_approvals_for_four_hundred_days() -> None:
    session, waiting = stages.running(), stages.running()
    settled, kept = stages.asked(session), stages.asked(waiting)
    decisions.withdraw(settled.project_id, settled.id, Actor.system("test"))
    with clock_at(days(399.9)):
        retention.sweep()
    assert set(Approval.objects.values_list("id", flat=True)) == {settled.id, kept.id}
    with clock_at(days(400.1)):
        retention.sweep()
    assert list(Approval.objects.values_list("id", flat=True)) == [kept.id]
    assert AuditEntry.objects.filter(action="approval.cancelled").count() == 1, "the audit chain keeps its story"
    rows = AuditEntry.objects.count()
    with clock_at(days(4000)):
        retention.sweep()
    assert Approval.objects.get().id == kept.id
    assert AuditEntry.objects.count() == rows, "no row of the chain goes with age"


def test_settled_approvals_go_after_four_hundred_days_and_what_waits_never_does() -> None:
    expect_approvals_for_four_hundred_days()


@pytest.mark.parametrize("fault", ["none", "at once", "also what waits"])
def test_control_a_retention_that_is_gone_or_comes_at_once_is_noticed(
    monkeypatch: pytest.MonkeyPatch, timings: Any, fault: str
) -> None:
    due = retention._due

    def changed() -> Any:
        for rows in due():
            if rows.model is not Approval:
                yield rows
            elif fault == "also what waits":
                yield Approval.objects.filter(requested_at__lt=later(-400 * 86400))

    if fault == "at once":
        timings(keep_settled_approvals_secs=0)
    else:
        monkeypatch.setattr(retention, "_due", changed)
    with pytest.raises((AssertionError, Approval.DoesNotExist)):
        expect_approvals_for_four_hundred_days()


def test_with_what_was_discarded_goes_the_message_that_was_tried_too_often() -> None:
    project = stages.project().pk
    for name in ("discarded", "waiting"):
        delivery.deliver(project, name, [NewMessage(message_kind="task", body={"text": "x"}, id=name)])
        for tries in range(5):
            with clock_at(days(tries / 100)):
                claims.drain(project, name)
            with clock_at(days(tries / 100 + 0.005)):
                claims.expire(project, name)
    first = Quarantined.objects.get(message_id="discarded")
    quarantine.discard(first.pk, stages.ACTOR, "hopeless")
    with clock_at(days(31)):
        retention.sweep()
    assert left() == {"waiting"}
    assert Quarantined.objects.get().message_id == "waiting"


def test_settled_quarantine_goes_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    project = stages.project().pk
    for number in range(5):
        quarantine.discard(quarantine.put(project, b"x", "rest", str(number)).pk, stages.ACTOR, "no")
    with clock_at(days(31)):
        before = later(-30 * 86400)
    assert [quarantine.forget(quarantine.due(before, 2)) for _ in range(4)] == [2, 2, 1, 0]
