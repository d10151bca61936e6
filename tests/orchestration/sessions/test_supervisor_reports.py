"""Reports of a supervisor and their answers, with a live or a dead token."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.db.clock import clock_at, read_database_clock
from core.web.problems import Problem
from orchestration.models import Session, WebProcess
from orchestration.sessions import lifecycle, reaper, spawn, supervisor_reports, transitions
from orchestration.states import Status
from tests.orchestration import stages

pytestmark = pytest.mark.django_db

LIFE = supervisor_reports.Life(pid=10, pgid=11, host="here")
FAILED = supervisor_reports.Exit(exit_status=3, exit_signal=None, stderr_tail="boom\n")


def kept(stage: object = stages.running) -> tuple[Session, str]:
    session = stage()
    return session, spawn.mint(session)


def connected(session: Session) -> None:
    web = WebProcess.objects.create(host="a", pid=1)
    stages.set_attempt(session, web_process=web, connection_since=read_database_clock(), connection_lost_at=None)


def test_alive_is_noted_and_goes_on() -> None:
    session, token = kept()
    assert supervisor_reports.alive(token, session.pk, 1, LIFE) is None
    row = stages.attempt(session)
    assert (row.supervisor_pid, row.pid, row.host) == (10, 11, "here")
    assert row.supervisor_seen_at


def test_an_ended_attempt_is_killed_after_its_grace_and_a_replaced_one_at_once() -> None:
    session, token = kept()
    lifecycle.finish(session.pk, 1, Status.TIMEOUT, error="too long")
    now = read_database_clock()
    with clock_at(now + timedelta(seconds=18)):
        assert supervisor_reports.alive(token, session.pk, 1, LIFE) is None
    with clock_at(now + timedelta(seconds=21)):
        assert supervisor_reports.alive(token, session.pk, 1, LIFE) == "timeout: too long"
    other, old = kept()
    transitions.requeue(other.pk, 1, "connection lost")
    assert supervisor_reports.alive(old, other.pk, 1, LIFE) == "error: connection lost"


def test_a_token_of_another_attempt_or_session_is_nobody() -> None:
    session, token = kept()
    other, _ = kept()
    for who, number in ((other.pk, 1), (session.pk, 2)):
        with pytest.raises(Problem) as refusal:
            supervisor_reports.alive(token, who, number, LIFE)
        assert refusal.value.status == 401
        with pytest.raises(Problem):
            supervisor_reports.exited(token, who, number, FAILED)
    with pytest.raises(Problem):
        supervisor_reports.alive("wr_child_0000000000000000_" + "x" * 43, session.pk, 1, LIFE)


def test_a_token_that_was_replaced_reports_nothing_while_its_attempt_goes_on() -> None:
    session = stages.queued(runner="external", command=None)
    stolen = spawn.mint(session)
    fresh = spawn.fresh_token(stages.project(), session.pk, stages.ACTOR).child_token
    with pytest.raises(Problem, match="live token"):
        supervisor_reports.alive(stolen, session.pk, 1, LIFE)
    with pytest.raises(Problem, match="live token"):
        supervisor_reports.exited(stolen, session.pk, 1, FAILED)
    row = stages.attempt(session)
    assert (row.exited_at, row.ended_at, row.supervisor_pid) == (None, None, None)
    assert fresh and supervisor_reports.exited(fresh, session.pk, 1, FAILED) == "error"


def test_an_exit_without_a_word_is_an_error_at_once() -> None:
    session, token = kept()
    assert supervisor_reports.exited(token, session.pk, 1, FAILED) == "error"
    assert stages.again(session).error == "exited with status 3\nboom\n"
    assert stages.attempt(session).stderr_tail == "boom\n"


def test_an_exit_before_the_first_word_is_an_error_at_once() -> None:
    session, token = kept(stages.starting)
    killed = supervisor_reports.Exit(exit_status=None, exit_signal=9, stderr_tail="")
    assert supervisor_reports.exited(token, session.pk, 1, killed) == "error"
    assert stages.again(session).error == "killed by signal 9 (SIGKILL)"


def test_last_words_on_a_live_connection_have_two_seconds_to_arrive() -> None:
    session, token = kept()
    connected(session)
    assert supervisor_reports.exited(token, session.pk, 1, FAILED) == "running"
    now = read_database_clock()
    with clock_at(now + timedelta(seconds=1)):
        assert reaper.sweep() == 0
    assert lifecycle.finish(session.pk, 1, Status.COMPLETED, result="last words")
    with clock_at(now + timedelta(seconds=9)):
        assert reaper.sweep() == 0
    assert stages.again(session).status == "completed"
    late, token = kept()
    connected(late)
    supervisor_reports.exited(token, late.pk, 1, FAILED)
    with clock_at(now + timedelta(seconds=9)):
        assert reaper.sweep() == 1
    assert stages.again(late).status == "error"


def test_an_exit_after_the_end_is_kept_and_changes_nothing() -> None:
    session, token = kept()
    lifecycle.finish(session.pk, 1, Status.COMPLETED)
    assert supervisor_reports.exited(token, session.pk, 1, FAILED) == "completed"
    assert stages.attempt(session).exit_status == 3


def test_a_second_report_of_an_exit_changes_nothing() -> None:
    session, token = kept()
    supervisor_reports.exited(token, session.pk, 1, FAILED)
    supervisor_reports.exited(
        token, session.pk, 1, supervisor_reports.Exit(exit_status=0, exit_signal=None, stderr_tail="")
    )
    assert stages.attempt(session).exit_status == 3


def test_the_exit_of_an_old_attempt_does_not_end_the_new_one() -> None:
    session, token = kept()
    transitions.requeue(session.pk, 1, "connection lost")
    assert supervisor_reports.exited(token, session.pk, 1, FAILED) == "queued"
    assert stages.attempt(session, 1).exit_status == 3
