"""The supervisor with real processes: its environment, its reports, and no process left behind."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until
from tests.wardroom.wardroom_stub import Stub, stub_server
from wardroom import processes, supervisor

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def front() -> Iterator[Stub]:
    with stub_server() as it:
        yield it


@pytest.fixture
def start(front: Stub, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(
        *argv: str, popen: dict[str, Any] | None = None, before: tuple[str, ...] = (), **changes: Any
    ) -> "subprocess.Popen[bytes]":
        spec = {
            "url": front.url,
            "session": "s1",
            "attempt": 1,
            "token": "wr_child_1_secret",
            "command": list(argv),
            "cwd": str(tmp_path),
            "env": {"PATH": os.environ["PATH"]},
            "grace_secs": 5,
            "alive_secs": 0.1,
            "state_dir": str(tmp_path),
            **changes,
        }
        read, write = os.pipe()
        os.write(write, json.dumps(spec).encode())
        os.close(write)
        argv = (*before, sys.executable, "-m", "wardroom.supervisor", "--fd", str(read))
        process = subprocess.Popen(argv, pass_fds=(read,), **popen or {})
        os.close(read)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.terminate()
        process.wait(20)


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def gone(pid: int) -> bool:
    return processes._stat(pid)[:1] in ([], ["Z"], ["X"])


def read_pid(path: Path) -> int:
    return wait_until(lambda: int(path.read_text()))


def test_the_child_finds_its_session_and_token_and_nothing_else(front: Stub, start: Start, tmp_path: Path) -> None:
    script = "import os, json; e = dict(os.environ); t = os.read(int(e['WARDROOM_TOKEN_FD']), 99).decode(); "
    script += "json.dump([e, t, os.getpgid(0) == os.getpid()], open('seen', 'w'))"
    start(sys.executable, "-I", "-c", script, env={"PATH": "/usr/bin"}).wait(20)
    env, token, leads = json.loads((tmp_path / "seen").read_text())
    assert token == "wr_child_1_secret"
    assert leads
    assert env.pop("WARDROOM_TOKEN_FD").isdigit()
    env.pop("LC_CTYPE", None)
    assert env == {
        "PATH": "/usr/bin",
        "WARDROOM_URL": front.url,
        "WARDROOM_SESSION": "s1",
        "WARDROOM_ATTEMPT": "1",
    }


def test_an_exit_is_reported_with_status_and_the_tail_of_stderr(front: Stub, start: Start) -> None:
    start(*sh("head -c 100000 /dev/zero | tr '\\0' x >&2; printf '\\377\\0 the end' >&2; exit 3")).wait(20)
    [end] = front.of("/exited")
    assert (end["exit_status"], end["exit_signal"]) == (3, None)
    assert len(end["stderr_tail"]) == 8192
    assert end["stderr_tail"].endswith("\ufffd\ufffd the end")
    # On a loaded machine a report of life may come at the same time.
    [(_, _, authorization)] = [post for post in front.posts if post[0] == "/api/v1/sessions/s1/attempts/1/exited"]
    assert authorization == "Bearer wr_child_1_secret"


def test_a_signal_is_reported_as_one(front: Stub, start: Start) -> None:
    start(*sh("kill -9 $$")).wait(20)
    assert front.of("/exited")[0]["exit_signal"] == 9
    assert front.of("/exited")[0]["exit_status"] is None


@pytest.mark.parametrize("argv", [["/no/such/command"], ["sh\0"]])
def test_a_command_that_cannot_start_is_reported(front: Stub, start: Start, argv: list[str]) -> None:
    start(*argv).wait(20)
    [end] = front.of("/exited")
    assert end["exit_status"] == supervisor.NOT_STARTED
    assert "cannot start" in end["stderr_tail"]


def test_life_is_reported_again_and_again(front: Stub, start: Start, tmp_path: Path) -> None:
    start(*sh("echo $$ > pid; exec sleep 60"))
    pid = read_pid(tmp_path / "pid")
    wait_until(lambda: len(front.of("/alive")) >= 3)
    assert {(life["pid"] != pid, life["pgid"]) for life in front.of("/alive")} == {(True, pid)}


def test_a_kill_in_the_answer_is_term_then_kill(front: Stub, start: Start, tmp_path: Path) -> None:
    begun = time.monotonic()
    process = start(*sh("trap 'echo termed >&2' TERM; echo $$ > pid; while :; do sleep 0.05; done"), grace_secs=0.3)
    read_pid(tmp_path / "pid")  # Before that, nothing keeps TERM from ending it.
    front.answers["alive"] = (200, {"action": "kill", "reason": "asked"})
    process.wait(20)
    [end] = front.of("/exited")
    assert end["exit_signal"] == 9
    assert time.monotonic() - begun < 10


def test_a_child_that_heeds_term_ends_in_its_own_way(front: Stub, start: Start, tmp_path: Path) -> None:
    start(*sh("trap 'echo bye >&2; exit 7' TERM; echo $$ > pid; while :; do sleep 0.05; done"))
    read_pid(tmp_path / "pid")
    front.answers["alive"] = (200, {"action": "kill"})
    [end] = wait_until(lambda: front.of("/exited"))
    assert end["exit_status"] == 7
    assert end["stderr_tail"].endswith("bye\n")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_dead_token_ends_the_child(front: Stub, start: Start, tmp_path: Path, status: int) -> None:
    process = start(*sh("echo $$ > pid; exec sleep 60"))
    pid = read_pid(tmp_path / "pid")
    front.answers = {"alive": (status, {}), "exited": (status, {})}
    process.wait(20)
    assert gone(pid)


def test_silence_ends_the_child_but_not_too_early(front: Stub, start: Start, tmp_path: Path) -> None:
    front.answers["alive"] = (503, {})
    begun = time.monotonic()
    process = start(*sh("echo $$ > pid; exec sleep 60"), silence_secs=1.0)
    pid = read_pid(tmp_path / "pid")
    wait_until(lambda: front.of("/exited"))
    assert time.monotonic() - begun >= 1.0
    process.wait(20)
    assert gone(pid)


def test_an_exit_is_reported_until_somebody_takes_it(front: Stub, start: Start) -> None:
    front.answers["exited"] = (503, {})
    process = start(*sh("exit 0"))
    wait_until(lambda: len(front.of("/exited")) >= 2)
    front.answers["exited"] = (200, {})
    assert process.wait(20) == 0
    assert front.of("/exited")[-1]["exit_status"] == 0


def test_what_the_child_left_behind_ends_with_it(front: Stub, start: Start, tmp_path: Path) -> None:
    daemon = "import os, time; os.setsid(); open('daemon', 'w').write(str(os.getpid())); time.sleep(60)"
    script = f"""trap '' TERM; sleep 60 & echo $! > group
    {sys.executable} -c "{daemon}" & while ! [ -s daemon ]; do sleep 0.02; done; exit 0"""
    seen: list[bool] = []

    def watch(path: str) -> None:
        if path.endswith("/exited"):
            seen.extend(gone(read_pid(tmp_path / name)) for name in ("group", "daemon"))

    front.watch = watch
    start(*sh(script)).wait(20)
    assert seen == [True, True], "the exit is reported when nothing is left"
    assert front.of("/exited")[0]["exit_status"] == 0


def test_sigterm_ends_the_child_reports_once_and_leaves_nothing(front: Stub, start: Start, tmp_path: Path) -> None:
    front.answers["exited"] = (503, {})
    process = start(*sh("echo $$ > pid; exec sleep 60"))
    pid = read_pid(tmp_path / "pid")
    process.terminate()
    process.wait(10)
    assert gone(pid)
    assert [end["exit_signal"] for end in front.of("/exited")] == [15]
    assert not (tmp_path / "s1-1.json").exists()


@pytest.fixture
def without_kill(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Return a prefix that limits a supervisor to signals for its own user's processes.

    So it stands before `sudo` in a command as a supervisor of a plain user does.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can give a process away")
    yield ("setpriv", "--bounding-set=-kill", "--inh-caps=-kill")
    with contextlib.suppress(OSError):
        os.kill(int((tmp_path / "other").read_text()), signal.SIGKILL)


ANOTHER = "exec setpriv --reuid=65534 --regid=65534 --clear-groups sleep 300"


def test_what_cannot_be_killed_is_named_and_holds_up_no_report(
    front: Stub, start: Start, tmp_path: Path, without_kill: tuple[str, ...]
) -> None:
    script = f"""({ANOTHER}) & echo $! > other
    until [ "$(stat -c %u /proc/$!)" = 65534 ]; do sleep 0.02; done; echo oops >&2; exit 3"""
    assert start(*sh(script), before=without_kill).wait(20) == 0
    [end] = front.of("/exited")
    other = read_pid(tmp_path / "other")
    assert not gone(other), "this test is about nothing if it can be killed"
    assert (end["exit_status"], end["exit_signal"]) == (3, None)
    named = f"sleep (pid {other}, user 65534)"
    assert end["stderr_tail"] == f"oops\n\n[still runs, and cannot be killed by this user: {named}]"


def test_a_child_that_cannot_be_killed_is_given_up_and_named(
    front: Stub, start: Start, tmp_path: Path, without_kill: tuple[str, ...]
) -> None:
    process = start(*sh(f"echo $$ > other; {ANOTHER}"), grace_secs=0.1, before=without_kill)
    other = read_pid(tmp_path / "other")
    wait_until(lambda: os.stat(f"/proc/{other}").st_uid == 65534)
    front.answers["alive"] = (200, {"action": "kill"})
    process.wait(30)
    [end] = front.of("/exited")
    assert end["exit_signal"] == 9
    assert f"cannot be killed by this user: sleep (pid {other}, user 65534)" in end["stderr_tail"]


def test_a_process_with_a_name_that_is_no_text_is_ended_as_any_other(front: Stub, start: Start, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xff) 1 (")
    shutil.copy("/bin/sleep", odd)
    code = f"import os; open('odd', 'w').write(str(os.getpid())); os.setsid(); os.execv({str(odd)!r}, ['x', '60'])"
    start(*sh(f"{sys.executable} -c {shlex.quote(code)} & while ! [ -s odd ]; do sleep 0.02; done; exit 4")).wait(20)
    assert front.of("/exited")[0]["exit_status"] == 4
    assert gone(read_pid(tmp_path / "odd"))


#: 32 and 33: whoever started the tests may have ignored them, and no program can set them.
OF_THE_C_LIBRARY = 1 << 31 | 1 << 32


def signals_of(text: str) -> dict[str, int]:
    pairs = (line.split(":") for line in text.splitlines())
    return {name: int(value, 16) & ~OF_THE_C_LIBRARY for name, value in pairs}


def test_a_child_starts_with_default_signals_and_an_empty_mask(front: Stub, start: Start, tmp_path: Path) -> None:
    def deaf() -> None:
        for number in (signal.SIGQUIT, signal.SIGINT, signal.SIGPIPE, signal.SIGUSR1, signal.SIGRTMIN):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR2})

    start("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status", stdout_file=str(tmp_path / "out"),
          popen={"preexec_fn": deaf}).wait(20)  # fmt: skip
    assert front.of("/exited")[0]["exit_status"] == 0
    assert signals_of((tmp_path / "out").read_text()) == {"SigBlk": 0, "SigIgn": 0}


def test_a_supervisor_that_cannot_write_its_state_file_keeps_its_child(front: Stub, start: Start) -> None:
    start(*sh("exit 5"), state_dir="/proc/nowhere").wait(20)
    assert front.of("/exited")[0]["exit_status"] == 5


def test_a_supervisor_that_fails_itself_is_reported(front: Stub, start: Start) -> None:
    process = start(*sh("sleep 60"), grace_secs="odd")
    wait_until(lambda: front.of("/alive"))
    front.answers["alive"] = (200, {"action": "kill"})
    process.wait(20)
    assert "failed" in front.of("/exited")[-1]["stderr_tail"]


def test_the_state_file_names_a_running_supervisor(start: Start, tmp_path: Path) -> None:
    process = start(*sh("echo $$ > pid; exec sleep 60"))
    state = wait_until(lambda: json.loads((tmp_path / "s1-1.json").read_text()))
    assert state["pgid"] == read_pid(tmp_path / "pid")
    assert (state["session"], state["attempt"]) == ("s1", 1)
    assert (tmp_path / "s1-1.json").stat().st_mode & 0o777 == 0o600
    assert supervisor.running(state)
    assert not supervisor.running({**state, "start": 1})
    assert not supervisor.running({**state, "boot_id": "another boot"})
    os.kill(state["pid"], signal.SIGTERM)
    process.wait(20)
    assert not supervisor.running(state)


def test_a_killed_supervisor_takes_its_child_along_and_the_guard_tells(
    front: Stub, start: Start, tmp_path: Path
) -> None:
    process = start(*sh("setsid sleep 60 & echo $! > daemon; echo $$ > pid; sleep 60"))
    state = wait_until(lambda: json.loads((tmp_path / "s1-1.json").read_text()))
    pid, daemon = read_pid(tmp_path / "pid"), read_pid(tmp_path / "daemon")
    os.kill(state["pid"], signal.SIGKILL)
    process.wait(20)
    assert gone(pid)
    assert gone(daemon)
    assert front.of("/exited")[0]["stderr_tail"] == "its supervisor was killed"
    assert not (tmp_path / "s1-1.json").exists()


def test_a_killed_guard_takes_everything_along(start: Start, tmp_path: Path) -> None:
    process = start(*sh("echo $$ > pid; exec sleep 60"))
    state = wait_until(lambda: json.loads((tmp_path / "s1-1.json").read_text()))
    process.kill()
    process.wait(20)
    wait_until(lambda: gone(state["pid"]) and gone(state["pgid"]))


def test_a_launch_spec_from_a_file_must_be_private_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "spec"
    path.write_text('{"url": "http://x", "session": "s", "attempt": 1, "token": "t", "command": ["a"], "more": 1}')
    path.chmod(0o644)
    with pytest.raises(PermissionError, match="0600"):
        supervisor.read_launch_spec(None, str(path))
    path.chmod(0o600)
    assert supervisor.read_launch_spec(None, str(path)).session == "s"
    assert not path.exists()


def test_no_launch_spec_is_an_error_in_one_line() -> None:
    done = subprocess.run([sys.executable, "-m", "wardroom.supervisor"], input=b"{}", capture_output=True, timeout=20)
    assert done.returncode == 2
    assert done.stderr.startswith(b"wardroom.supervisor: no launch spec")
    assert len(done.stderr.splitlines()) == 1


def test_secrets_are_not_in_the_repr_of_a_launch_spec() -> None:
    text = '{"url": "u", "session": "s", "attempt": 1, "token": "hidden", "command": [], "env": {"KEY": "hidden"}}'
    assert "hidden" not in repr(supervisor.LaunchSpec.parse(text))


def test_the_supervisor_needs_the_standard_library_only() -> None:
    script = "import sys, wardroom.supervisor; print([m for m in sys.modules if 'site-packages' in "
    script += "str(getattr(sys.modules[m], '__file__', '')) and not m.startswith('wardroom')])"
    found = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.'); {script}"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert "msgspec" not in found.stdout
    assert "websockets" not in found.stdout
    assert found.returncode == 0, found.stderr
