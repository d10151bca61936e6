"""Starting, finding and ending supervisors on this host, with real processes and without a server."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from orchestration.runners import process
from server import clean_stop
from tests.servers.processes import alive
from tests.waiting import chance, wait_until
from wardroom import processes

pytestmark = pytest.mark.once

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('up', 'w').close(); time.sleep(99)"


@pytest.fixture
def session(settings: Any, tmp_path: Path, timings: Any) -> Iterator[UUID]:
    settings.DATA_FOLDER = tmp_path
    settings.WARDROOM_URL = "http://127.0.0.1:9"
    timings(kill_grace_secs=0.3, supervisor_alive_secs=0.2)
    yield uuid4()
    for file in (tmp_path / "supervisors").glob("*.json"):
        process.end_supervisor(file, 1)


def start(session: UUID, attempt: int = 1, *command: str) -> dict[str, Any]:
    """Start a supervisor and its child, and return the state file."""
    told = process.launch_spec(session, attempt, "wr_child_secret", list(command or ("sleep", "99")), {})
    process.start_supervisor(told)
    return wait_until(lambda: keeping(session, attempt), 30, why="the supervisor's own state file")


def keeping(session: UUID, attempt: int) -> dict[str, Any] | None:
    state = json.loads(process.state_file(session, attempt).read_text())
    return state if state["pgid"] else None


def runs(state: dict[str, Any], pid: str = "pid", start: str = "start") -> bool:
    return processes.is_same(state[pid], state["boot_id"], state[start])


def test_a_supervisor_is_in_a_session_of_its_own_and_not_our_child(session: UUID) -> None:
    state = start(session)
    assert os.getsid(state["pid"]) != os.getsid(0)
    assert os.getpgid(state["pgid"]) == state["pgid"]
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert str(state["pid"]) not in children


def test_the_token_is_in_no_argument_and_no_environment_and_files_are_ours_alone(session: UUID) -> None:
    state = start(session)
    for pid in (state["pid"], state["pgid"]):
        for name in ("cmdline", "environ"):
            assert b"wr_child_secret" not in Path(f"/proc/{pid}/{name}").read_bytes()
    files = list(process.supervisors_folder().iterdir())
    assert files and all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert stat.S_IMODE(process.supervisors_folder().stat().st_mode) == 0o700


def test_ending_a_supervisor_ends_a_child_that_ignores_term(session: UUID) -> None:
    state = start(session, 1, "python", "-c", STUBBORN)
    wait_until((process.working_folder(session) / "up").exists, 30)
    assert process.end_supervisor(process.state_file(session, 1), 20)
    assert not runs(state)
    assert not runs(state, "pgid", "pgid_start")
    assert not process.state_file(session, 1).exists()


def test_a_supervisor_that_does_not_leave_is_killed_with_its_child(session: UUID) -> None:
    state = start(session)
    guard = int(Path(f"/proc/{state['pid']}/stat").read_text().rpartition(")")[2].split()[1])
    born = processes.start_time(guard)
    os.kill(state["pid"], signal.SIGSTOP)
    assert process.end_supervisor(process.state_file(session, 1), 0.2)
    wait_until(lambda: not runs(state) and not runs(state, "pgid", "pgid_start"))
    wait_until(lambda: not processes.is_same(guard, state["boot_id"], born), why="the guard's end")


def test_a_clean_stop_leaves_no_process_not_even_a_slow_guard(session: UUID) -> None:
    state = start(session)
    guard = process.guard_of(state["pid"])
    born = processes.start_time(guard)
    os.kill(guard, signal.SIGSTOP)
    stopped, waits = [state["pid"], state["pgid"]], 0

    def wait(secs: float) -> None:
        nonlocal waits
        # The guard goes on after everything else has ended.
        if not any(alive(pid) for pid in stopped):
            waits += 1
            os.kill(guard, signal.SIGCONT)
        chance(secs)

    clean_stop.end_all(wait)
    assert waits and not processes.is_same(guard, state["boot_id"], born)


def test_earlier_attempts_are_ended_and_the_current_one_is_not(session: UUID) -> None:
    old, current = start(session, 1), start(session, 2)
    other = uuid4()
    foreign = start(other, 1)
    process.end_earlier(session, 2, 20)
    assert not runs(old) and not runs(old, "pgid", "pgid_start")
    assert runs(current) and runs(foreign)


def test_a_pid_that_was_used_again_is_never_killed(session: UUID) -> None:
    bystander = subprocess.Popen(["sleep", "99"], start_new_session=True)
    try:
        mine = {"pid": bystander.pid, "pgid": bystander.pid, "boot_id": processes.boot_id()}
        born = processes.start_time(bystander.pid)
        file = process.state_file(session, 1)
        for lie in ({"start": 1, "pgid_start": 1}, {"start": born, "pgid_start": born, "boot_id": "another"}):
            file.write_text(json.dumps({**mine, "host": process.this_host(), **lie}))
            assert not process.end_supervisor(file, 1)
            assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_another_hosts_supervisor_is_left_alone(session: UUID) -> None:
    state = start(session)
    file = process.state_file(session, 1)
    file.write_text(json.dumps({**state, "host": "elsewhere"}))
    assert not process.end_supervisor(file, 1)
    assert runs(state)
    file.write_text(json.dumps(state))


def test_a_state_file_that_says_nothing_is_nobody(session: UUID) -> None:
    file = process.state_file(session, 1)
    assert not process.end_supervisor(file, 1)
    for text in ("{", "[]", "{}", '{"host": 1}', "[" * 100_000, '{"session": "x", "attempt": 1}', "\udcff"):
        file.write_bytes(text.encode(errors="surrogateescape"))
        assert not process.end_supervisor(file, 1)
        assert process.read_state(file) == {}


def test_a_state_file_that_says_nothing_keeps_no_other_from_being_ended(session: UUID) -> None:
    old = start(session, 1)
    for name in (f"{session}-x.json", f"{session}-0.json", "odd.json"):
        (process.supervisors_folder() / name).write_text("{}")
    assert clean_stop.kept() == [(session, 1)]
    process.end_earlier(session, 2, 20)
    assert not runs(old) and not runs(old, "pgid", "pgid_start")


def test_only_named_variables_reach_a_child(timings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    timings(child_environment=["EXTRA"])
    for name in ("SECRET_KEY", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "EXTRA", "LC_ALL", "HOME"):
        monkeypatch.setenv(name, "x")
    found = process.child_environment({"MINE": "y", "PATH": "/evil"})
    assert {"EXTRA", "LC_ALL", "HOME", "MINE"} <= set(found)
    assert not {"SECRET_KEY", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY"} & set(found)
    assert found["PATH"] == process.child_path()
