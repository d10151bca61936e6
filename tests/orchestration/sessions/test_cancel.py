"""Cancel: at once where nothing runs, with a grace where something does, and never over a natural end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.models import Project
from core.db.clock import clock_at, read_database_clock
from core.web.problems import Problem
from ledger.models import AuditEntry, Outage
from orchestration.models import Session
from orchestration.sessions import cancel as session_cancel
from orchestration.sessions import lifecycle, reaper, transitions
from orchestration.states import Status
from tests.orchestration import stages

pytestmark = pytest.mark.django_db


def cancel(session: Session, **options: bool) -> Session:
    session_cancel.cancel(stages.project(), session.pk, "enough", stages.ACTOR, **options)
    return stages.again(session)


def sweep(secs: float) -> int:
    with clock_at(read_database_clock() + timedelta(seconds=secs)):
        return reaper.sweep()


@pytest.mark.parametrize("stage", [stages.queued, stages.suspended])
def test_what_does_not_run_ends_at_once(stage: object) -> None:
    session = cancel(stage())
    assert (session.status, session.error) == ("cancelled", "enough")


def test_an_external_session_whose_child_never_came_ends_at_once() -> None:
    assert cancel(stages.queued(runner="external", command=None)).status == "cancelled"


def test_a_running_child_has_the_grace_and_then_the_kill() -> None:
    session = cancel(stages.running())
    assert (session.status, session.cancel_reason) == ("running", "enough")
    assert sweep(19) == 0
    assert sweep(21) == 1
    attempt = stages.attempt(session)
    assert (stages.again(session).status, attempt.status) == ("cancelled", "cancelled")
    assert attempt.kill_requested_at == attempt.ended_at


def test_a_child_that_finishes_in_between_keeps_its_own_outcome() -> None:
    session = cancel(stages.running())
    assert lifecycle.finish(session.pk, 1, Status.COMPLETED, result="done")
    assert sweep(60) == 0
    assert (stages.again(session).status, stages.again(session).result) == ("completed", "done")


def test_the_grace_starts_anew_after_an_outage() -> None:
    session = cancel(stages.running())
    now = read_database_clock()
    Outage.objects.create(name="sweeps", ended_at=now + timedelta(seconds=100))
    with clock_at(now + timedelta(seconds=119)):
        assert reaper.sweep() == 0
    with clock_at(now + timedelta(seconds=121)):
        assert reaper.sweep() == 1
    assert stages.again(session).status == "cancelled"


def test_a_process_that_leaves_without_a_word_after_a_cancel_is_cancelled() -> None:
    session = cancel(stages.running())
    assert lifecycle.give_up(session.pk, 1, "exited with status 1")
    assert (stages.again(session).status, stages.again(session).error) == ("cancelled", "enough")


def test_what_is_being_cancelled_is_not_tried_again() -> None:
    session = stages.running()
    Session.objects.filter(pk=session.pk).update(retries_left=3)
    cancel(session)
    assert lifecycle.fail(session.pk, 1, "connection lost for 60 s")
    assert stages.again(session).status == "cancelled"


def tree() -> list[Session]:
    top = stages.running()
    middle = stages.running(parent=top.pk)
    return [top, middle, stages.queued(parent=middle.pk), stages.ended(parent=middle.pk)]


def test_it_covers_everything_below_and_leaves_what_is_over() -> None:
    top, middle, waiting, done = tree()
    cancel(top)
    assert stages.again(waiting).status == "cancelled"
    assert stages.again(done).status == "completed"
    assert stages.again(middle).cancel_requested_at is not None
    assert sweep(21) == 2


def test_without_cascade_the_rest_goes_on() -> None:
    top, middle, waiting, _ = tree()
    cancel(top, cascade=False)
    assert stages.again(middle).cancel_requested_at is None
    assert stages.again(waiting).status == "queued"


def test_an_error_or_timeout_of_its_own_does_not_cascade() -> None:
    top, middle, waiting, _ = tree()
    lifecycle.finish(top.pk, 1, Status.TIMEOUT, error="too long")
    assert stages.again(middle).status == "running"
    assert stages.again(waiting).status == "queued"


def test_asking_again_keeps_the_first_reason_and_its_deadline() -> None:
    session = cancel(stages.running())
    first = session.cancel_requested_at
    session_cancel.cancel(stages.project(), session.pk, "more", stages.ACTOR)
    again = stages.again(session)
    assert (again.cancel_requested_at, again.cancel_reason) == (first, "enough")


def test_nothing_is_spawned_under_a_parent_that_is_being_cancelled() -> None:
    session = cancel(stages.running())
    with pytest.raises(Problem) as refusal:
        stages.queued(parent=session.pk)
    assert refusal.value.type == "not-running"


def test_it_is_audited_and_foreign_sessions_are_unknown() -> None:
    session = cancel(stages.running())
    entry = AuditEntry.objects.get(action="session.cancel")
    assert (entry.subject, entry.actor) == (str(session.pk), "system:test")
    other = Project.objects.create(slug="other")
    with pytest.raises(Problem) as refusal:
        session_cancel.cancel(other, session.pk, "mine now", stages.ACTOR)
    assert refusal.value.status == 404


def test_retry_starts_what_is_over_and_nothing_else() -> None:
    session = cancel(stages.queued())
    retried = lifecycle.retry(stages.project(), session.pk, stages.ACTOR)
    assert (retried.status, retried.attempt, retried.error) == ("queued", 2, None)
    assert retried.cancel_requested_at is None
    with pytest.raises(Problem) as refusal:
        lifecycle.retry(stages.project(), session.pk, stages.ACTOR)
    assert refusal.value.status == 409


def test_every_arrow_into_queued_makes_the_next_attempt() -> None:
    session = stages.ended(Status.ERROR)
    transitions.requeue(session.pk, 1, "again", out_of={Status.ERROR})
    assert [row.number for row in session.attempts.all()] == [1, 2]
    assert stages.attempt(session, 1).status == "error"
