"""Launching: the claim, skipped attempts, and attempts without a first frame."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.db.clock import clock_at, read_database_clock
from ledger.models import Outage, OutboxEntry
from mailbox import delivery
from mailbox.envelope import NewMessage
from orchestration.models import Attempt, Session
from orchestration.runners import process
from orchestration.sessions import cancel, lifecycle, transitions
from orchestration.sessions import launch as session_launch
from tests.orchestration import stages

pytestmark = pytest.mark.django_db


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[process.LaunchSpec]:
    """The launch specs of supervisors that would have been started. Real ones are in test_processes."""
    specs: list[process.LaunchSpec] = []

    def note(told: process.LaunchSpec) -> int:
        specs.append(told)
        return 4711

    monkeypatch.setattr(process, "start_supervisor", note)
    return specs


def launch(session: Session, **options: Any) -> bool:
    return session_launch.launch(session.pk, stages.again(session).attempt, **options)


def later(secs: float) -> Any:
    return read_database_clock() + timedelta(seconds=secs)


def test_a_launch_claims_mints_and_starts_once(started: list[process.LaunchSpec]) -> None:
    session = stages.queued()
    assert launch(session)
    assert not launch(session)
    (specs,) = started
    assert (specs.session, specs.attempt, specs.command) == (str(session.pk), 1, ["sleep", "60"])
    assert specs.token.startswith("wr_child_")
    assert (stages.again(session).status, stages.attempt(session).supervisor_pid) == ("starting", 4711)
    assert OutboxEntry.objects.get(key=f"launch:{session.pk}:1").sent_at


def test_launch_specs_hold_no_secret_of_the_server(started: list[process.LaunchSpec]) -> None:
    launch(stages.queued())
    (specs,) = started
    assert not {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "BROKER_URL"} & set(specs.env)
    assert specs.env["PATH"].startswith(str(Path(sys.executable).parent))
    assert specs.token not in repr(specs)


def test_an_old_task_message_launches_nothing(started: list[process.LaunchSpec]) -> None:
    session = stages.running()
    transitions.requeue(session.pk, 1, "again")
    assert not session_launch.launch(session.pk, 1)
    assert not started


def test_without_assignment_and_messages_it_is_skipped(started: list[process.LaunchSpec]) -> None:
    session = stages.queued(assignment=" ")
    assert not launch(session)
    assert (stages.again(session).status, started) == ("skipped", [])


def test_an_unread_message_is_work_enough(started: list[process.LaunchSpec]) -> None:
    session = stages.queued(assignment="")
    delivery.deliver(session.project_id, session.address, [NewMessage(message_kind="task", body="do")])
    assert launch(session)


def test_a_supervisor_that_cannot_be_started_is_an_error_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(told: process.LaunchSpec) -> int:
        raise process.NotStarted("the supervisor could not be started: no room")

    monkeypatch.setattr(process, "start_supervisor", refuse)
    session = stages.queued()
    assert not launch(session)
    assert stages.again(session).error == "the supervisor could not be started: no room"


@pytest.mark.parametrize("env", ["odd", {"B": object()}], ids=["no mapping", "no text"])
def test_a_launch_that_fails_after_its_claim_ends_the_attempt_at_once_with_the_reason(
    settings: Any, tmp_path: Any, env: Any, timings: Any
) -> None:
    settings.DATA_FOLDER = tmp_path
    timings(roles={"odd": {"command": ["sleep", "60"], "env": env}})
    session = stages.queued(role="odd", command=None)
    assert not launch(session)
    ended = stages.again(session)
    assert ended.status == "error"
    assert ended.error.startswith("the launch failed: TypeError: ")


def test_the_sweeper_launches_what_is_queued_for_too_long(started: list[process.LaunchSpec]) -> None:
    stages.queued()
    stages.queued(runner="external", command=None)
    assert session_launch.sweep() == 0
    with clock_at(later(6)):
        assert session_launch.sweep() == 1
        assert session_launch.sweep() == 0
    assert len(started) == 1


def test_it_waits_for_another_host_to_notice_that_its_attempt_is_over(started: list[process.LaunchSpec]) -> None:
    session = stages.running()
    stages.set_attempt(session, host="elsewhere")
    transitions.requeue(session.pk, 1, "connection lost")
    assert not launch(session)
    with clock_at(later(41)):
        assert launch(session)
    other = stages.running()
    stages.set_attempt(other, host="elsewhere")
    transitions.requeue(other.pk, 1, "connection lost")
    Attempt.objects.filter(session=other, number=1).update(exited_at=read_database_clock())
    assert launch(other)


def silent(started: list[process.LaunchSpec]) -> Session:
    session = stages.queued()
    launch(session)
    return session


def test_no_first_word_is_one_relaunch_and_then_an_error(started: list[process.LaunchSpec]) -> None:
    session = silent(started)
    with clock_at(later(59)):
        assert session_launch.sweep() == 0
    with clock_at(later(61)):
        assert session_launch.sweep() == 1
    again = stages.again(session)
    assert (again.status, again.attempt) == ("queued", 2)
    assert stages.attempt(session, 1).kill_requested_at <= later(61)
    with clock_at(later(61)):
        assert launch(session)
    with clock_at(later(125)):
        assert session_launch.sweep() == 1
    assert (stages.again(session).status, stages.again(session).error) == (
        "error",
        "no first frame from the child in 60 s",
    )


def test_a_first_word_disarms_it(started: list[process.LaunchSpec]) -> None:
    session = silent(started)
    lifecycle.started(session.pk, 1)
    with clock_at(later(3600)):
        assert session_launch.sweep() == 0


def test_a_first_word_that_comes_while_the_sweeper_looks_is_seen(started: list[process.LaunchSpec]) -> None:
    session = silent(started)
    lifecycle.started(session.pk, 1)
    assert not session_launch.give_up_waiting(session.pk, 1)
    transitions.requeue(session.pk, 1, "connection lost")
    launch(session)
    assert not session_launch.give_up_waiting(session.pk, 1)
    assert (stages.again(session).status, stages.again(session).attempt) == ("starting", 2)


def test_an_outage_of_ours_gives_it_its_time_again(started: list[process.LaunchSpec]) -> None:
    silent(started)
    Outage.objects.create(name="sweeps", ended_at=later(100))
    with clock_at(later(159)):
        assert session_launch.sweep() == 0
    with clock_at(later(161)):
        assert session_launch.sweep() == 1


def test_an_external_attempt_waits_a_day_for_its_child() -> None:
    session = stages.queued(runner="external", command=None)
    assert stages.again(session).status == "starting"
    with clock_at(later(24 * 3600 - 60)):
        assert session_launch.sweep() == 0
    with clock_at(later(24 * 3600 + 60)):
        assert session_launch.sweep() == 1
    assert stages.again(session).error == "no first frame from the child in 86400 s"


def test_a_relaunch_of_what_was_told_to_cancel_ends_it(started: list[process.LaunchSpec]) -> None:
    session = silent(started)
    cancel.cancel(stages.project(), session.pk, "enough", stages.ACTOR)
    assert session_launch.give_up_waiting(session.pk, 1)
    assert stages.again(session).status == "cancelled"
