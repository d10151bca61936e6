"""The bundled runbook child on a real Wardroom: each step as it was decided, exactly once, whatever is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conformance.conftest import SPELLINGS, Spawn
from tests.servers.stack import House
from tests.waiting import NeverHappened, wait_until
from wardroom.client import Client, Problem

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]

RUNBOOK = ["python", "-m", "wardroom.children.runbook"]


class Run:
    """One runbook session, with a person who answers it."""

    def __init__(self, client: Client, text: str, *options: str) -> None:
        self.client = client
        self.id = client.spawn(text, command=[*RUNBOOK, *options])["id"]

    @classmethod
    def of(cls, client: Client, id: str) -> Run:
        """A session that somebody else spawned."""
        run = cls.__new__(cls)
        run.client, run.id = client, id
        return run

    def pending(self, command: str) -> dict[str, Any]:
        """The ask for this command, once it waits."""

        def found() -> dict[str, Any] | None:
            waiting = self.client.approvals(session=self.id, status="pending")
            return next((each for each in waiting if each["arguments"]["command"] == command), None)

        try:
            return wait_until(found, 60, why=f"being asked for {command!r}")
        except AssertionError:
            attempts = self.client.get(f"sessions/{self.id}/attempts")["results"]
            raise AssertionError(f"{self.client.session(self.id)}\n{attempts}") from None

    def answer(self, command: str, decision: str, **fields: Any) -> None:
        self.client.decide(self.pending(command), decision, **fields)

    def edit(self, command: str, instead: str) -> None:
        asked = self.pending(command)
        self.client.decide(asked, "edit", arguments={**asked["arguments"], "command": instead})

    def over(self, timeout: float = 60) -> dict[str, Any]:
        return self.client.wait_session(self.id, timeout)

    def events(self, type: str) -> list[dict[str, Any]]:
        page = self.client.get(f"sessions/{self.id}/events", {"limit": 200})
        return [event["payload"] for event in page["results"] if event["type"] == type]

    def outcomes(self) -> dict[int, str]:
        return {step["step"]: step["outcome"] for event in self.events("runbook_result") for step in event["steps"]}


Start = Callable[..., Run]


def wrapped(house: House, text: str) -> Run:
    """A runbook that the API cannot recognise as one."""
    client = Client(house.url, house.key)
    return Run.of(client, client.spawn(text, command=["sh", "-c", "exec python -m wardroom.children.runbook"])["id"])


@pytest.fixture
def start(house: House) -> Start:
    return lambda text, *options: Run(Client(house.url, house.key), text, *options)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_each_step_runs_as_it_was_decided(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = start(
        f"""# Build
        echo one >> {log}; echo said one
        echo two >> {log}
        # Free
        ! echo free >> {log}
        echo three >> {log}
        # Ship
        exit 3
        """
    )
    run.answer(f"echo one >> {log}; echo said one", "approve")
    run.answer(f"echo two >> {log}", "deny", message="not two")
    run.edit(f"echo three >> {log}", f"echo drei >> {log}")
    run.answer("exit 3", "approve")
    over = run.over()
    assert over["status"] == "completed", over
    assert lines(log) == ["one", "free", "drei"]
    assert run.outcomes() == {1: "done", 2: "denied", 3: "done", 4: "done", 5: "failed"}
    table = over["result"].splitlines()
    assert [row.split()[:3] for row in table[1:]] == [
        ["1", "done", "0"],
        ["2", "denied", "-"],
        ["3", "done", "0"],
        ["4", "done", "0"],
        ["5", "failed", "3"],
    ]
    assert table[2].endswith("(not two)")
    assert f"asked for: echo three >> {log}" in table[4]
    assert "said one\n" in [event["text"] for event in run.events("tool_output")]
    assert [event["exit_code"] for event in run.events("tool_finished")] == [0, 0, 0, 3]


def test_an_approval_shows_the_command_the_folder_and_names_but_no_values(start: Start) -> None:
    run = start("# Look\nls")
    asked = run.pending("ls")
    assert (asked["tool_name"], asked["permission"]) == ("shell", "shell")
    assert set(asked["arguments"]) == {"command", "cwd", "env"}
    assert Path(asked["arguments"]["cwd"]).is_dir()
    assert "PATH" in asked["arguments"]["env"]
    assert not [name for name in asked["arguments"]["env"] if "WARDROOM" in name or "=" in name]
    run.client.cancel(run.id)
    assert run.over()["status"] == "cancelled"


def test_a_denial_can_stop_the_rest(start: Start, tmp_path: Path) -> None:
    run = start(f"ls\n! touch {tmp_path}/never", "--on-deny", "stop")
    run.answer("ls", "deny")
    assert run.over()["status"] == "completed"
    assert run.outcomes() == {1: "denied", 2: "stopped"}
    assert not (tmp_path / "never").exists()


def test_an_ask_that_expires_is_a_step_expired(start: Start, tmp_path: Path) -> None:
    run = start(f"touch {tmp_path}/never\n! true", "--expires-in", "1")
    assert run.over()["status"] == "completed"
    assert run.outcomes() == {1: "expired", 2: "done"}
    assert not (tmp_path / "never").exists()


def test_skip_stop_and_other_words_act_at_the_next_step(start: Start, tmp_path: Path) -> None:
    run = start("ls\n! echo two\ntrue\n! echo four\n! echo five")
    asked = run.pending("ls")
    for word in ("hello there", " Skip\n"):
        run.client.message(run.id, word)
    run.client.decide(asked, "approve")
    asked = run.pending("true")
    run.client.message(run.id, {"text": "stop"})
    run.client.decide(asked, "approve")
    run.over()
    assert run.outcomes() == {1: "done", 2: "skipped", 3: "done", 4: "stopped", 5: "stopped"}
    assert [event["text"] for event in run.events("message_noted")] == ["hello there"]


@pytest.fixture
def plain_key(house: House) -> str:
    """A key that may spawn, and may not order a command of its own."""
    told = house.manage(
        "create_api_key", "--user", house.admin_name, "--scope", "sessions:write", "--scope", "sessions:read"
    )
    return told.split("api key: ")[1].strip()


@pytest.mark.parametrize("role", SPELLINGS)
def test_without_the_scope_of_a_command_every_step_is_asked_for_whatever_the_role_is_called(
    house: House, plain_key: str, spawn: Spawn, tmp_path: Path, role: str
) -> None:
    owner, order = Client(house.url, house.key), f"! touch {tmp_path}/never"
    plain = Client(house.url, plain_key).spawn(order, role=role)["id"]
    outside = Client(house.url, spawn().token).spawn(order, role=role)["id"]
    for id in (plain, outside):
        run = Run.of(owner, id)
        assert "begins with !" in run.pending(f"touch {tmp_path}/never")["question"]
        run.answer(f"touch {tmp_path}/never", "deny")
        assert run.over()["status"] == "completed"
        assert run.outcomes() == {1: "denied"}
    assert not (tmp_path / "never").exists()


def test_a_retry_by_a_key_without_the_scope_of_a_command_is_asked_for_every_step(
    house: House, plain_key: str, start: Start, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    run = start(f"! echo one >> {log}")
    assert run.over()["status"] == "completed"
    Client(house.url, plain_key).post(f"sessions/{run.id}/retry", {})
    run.answer(f"echo one >> {log}", "deny")
    run.over()
    run.client.post(f"sessions/{run.id}/retry", {})
    run.answer(f"echo one >> {log}", "deny")
    run.over()
    assert lines(log) == ["one"]


@pytest.mark.parametrize("text", ["# nothing\n", "   \n!\n"])
def test_an_empty_runbook_is_an_error(house: House, start: Start, text: str) -> None:
    with pytest.raises(Problem, match="the runbook is empty"):
        start(text)
    over = wrapped(house, text).over()
    assert (over["status"], over["error"]) == ("error", "runbook is empty")


def test_a_heading_and_a_command_of_any_size_are_cut_where_they_are_told(start: Start) -> None:
    run = start("# " + "\U0001f600" * 260_000 + "\n!true " + "\x01" * 2100)
    assert run.over()["status"] == "completed"
    [began] = run.events("round_started")
    assert len(began["heading"].encode()) < 2010
    assert began["heading"].endswith("…")
    assert began["command"].endswith("…")


def test_a_command_that_was_edited_beyond_what_the_kernel_takes_is_a_failed_step(start: Start) -> None:
    run = start("true one\ntrue two")
    run.edit("true one", "true " + "x" * 131_067)
    run.answer("true two", "approve")
    assert run.over()["status"] == "completed"
    assert run.outcomes() == {1: "failed", 2: "done"}


@pytest.mark.parametrize("text", ["true\ncat <<EOF\nEOF", "true\necho \\\n", "true\necho 'it"])
def test_a_command_of_several_lines_is_refused_before_anything_runs(house: House, start: Start, text: str) -> None:
    with pytest.raises(Problem, match="line 3 "):
        start(f"!touch never\n{text}")
    over = wrapped(house, f"!touch never\n{text}").over()
    assert over["status"] == "error"
    assert "runbook refused: line 3 " in over["error"]


def test_a_cancel_ends_the_running_step_and_what_it_started(start: Start, tmp_path: Path) -> None:
    run = start(f"! echo $$ > {tmp_path}/pid; sleep 77 & echo $! > {tmp_path}/other; sleep 77\nls")
    wait_until(lambda: lines(tmp_path / "other"), 30)
    run.client.cancel(run.id, "enough")
    over = run.over()
    assert over["status"] == "cancelled"
    assert run.outcomes() == {1: "cancelled", 2: "cancelled"}
    for name in ("pid", "other"):
        wait_until(lambda name=name: not Path(f"/proc/{lines(tmp_path / name)[0]}").exists())


def test_a_runbook_that_dies_is_an_error_with_its_last_words_and_leaves_nothing(start: Start, tmp_path: Path) -> None:
    run = start(f"! echo $$ $PPID > {tmp_path}/pids; sleep 77")
    step, child = map(int, wait_until(lambda: lines(tmp_path / "pids"), 30)[0].split())
    os.kill(child, signal.SIGKILL)
    over = run.over()
    assert over["status"] == "error"
    assert "signal 9" in over["error"] or "-9" in over["error"] or "killed" in over["error"].lower()
    wait_until(lambda: not Path(f"/proc/{step}").exists())


KILLS = {
    "web": ["web1"],
    "worker": ["worker"],
    "beat": ["beat"],
    "broker": [],
    "everything": ["web1", "worker", "beat"],
}


@pytest.mark.parametrize("kill", KILLS)
def test_walk_7_kill_9_and_no_step_runs_twice(house: House, start: Start, tmp_path: Path, kill: str) -> None:
    """While it waits for an answer, and again while a step runs."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    slow = f"echo slow >> {log}; while ! [ -e {gate} ]; do sleep 0.05; done; echo end >> {log}"
    run = start(f"echo one >> {log}\n{slow}\necho three >> {log}")
    asked = run.pending(f"echo one >> {log}")
    strike(house, kill)
    run.client.decide(asked, "approve")
    run.answer(slow, "approve")
    wait_until(lambda: "slow" in lines(log), 60)
    strike(house, kill)
    gate.touch()
    run.edit(f"echo three >> {log}", f"echo drei >> {log}")
    over = run.over(90)
    assert over["status"] == "completed", over
    assert lines(log) == ["one", "slow", "end", "drei"]
    assert run.outcomes() == {1: "done", 2: "done", 3: "done"}


def strike(house: House, kill: str) -> None:
    house.kill(*KILLS[kill])
    if kill in ("broker", "everything"):
        house.broker.kill()
        house.broker.start()
    for name in KILLS[kill]:
        house.start(name)
    if kill == "broker":
        stand_in_for_the_watcher(house)


def stand_in_for_the_watcher(house: House) -> None:
    """Restart a worker that ended after the loss of its broker, as its process manager does.

    Nobody watches this one, and the tests after this share it. Only a message sent after the loss proves that it hears.
    """
    probe = Run(Client(house.url, house.key), "! true")

    def is_decided() -> bool:
        return not house.services["worker"].running or probe.client.session(probe.id)["status"] != "queued"

    with contextlib.suppress(NeverHappened):
        wait_until(is_decided, 30, why="the launch of a session")
    if probe.client.session(probe.id)["status"] == "queued":
        house.kill("worker")
        house.start("worker")
        probe.over()


def test_a_restarted_runbook_repeats_nothing_that_it_cannot_prove_not_to_have_run(
    house: House, spawn: Spawn, tmp_path: Path
) -> None:
    """The child itself is killed while a step runs, and started again for the same attempt."""
    log = tmp_path / "log"
    session = spawn(f"echo one >> {log}\n! echo two >> {log}\n! echo slow >> {log}; sleep 77\necho four >> {log}")
    env = {
        "PATH": os.environ["PATH"],
        "WARDROOM_URL": house.url,
        "WARDROOM_SESSION": session.id,
        "WARDROOM_ATTEMPT": "1",
        "WARDROOM_TOKEN": session.token,
    }
    command = [sys.executable, *RUNBOOK[1:]]
    run = Run.of(session.client, session.id)
    with subprocess.Popen(command, env=env) as first:
        run.answer(f"echo one >> {log}", "approve")
        wait_until(lambda: "slow" in lines(log), 60)
        first.kill()
    with subprocess.Popen(command, env=env) as second:
        run.answer(f"echo four >> {log}", "approve")
        assert second.wait(60) == 0
    assert lines(log) == ["one", "two", "slow", "four"]
    assert run.outcomes() == {1: "done", 2: "done", 3: "unknown", 4: "done"}
    assert [event["step"] for event in run.events("unknown_outcome")] == [3]
    assert session.now()["status"] == "completed"


def test_whoever_asks_is_told_where_it_is_and_a_steer_acts_at_the_next_step(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = start(f"! echo one >> {log}\necho two >> {log}\n! echo three >> {log}\n! echo four >> {log}")
    run.pending(f"echo two >> {log}")
    told = run.client.ask(run.id, "where are you?")
    assert told["status"] == "answered", told
    assert "now at step 2 of 4" in told["answer"] and "done" in told["answer"]
    assert run.client.session(run.id)["status"] == "running"
    steer = run.client.ask(run.id, "skip", mode="steer", timeout=0)
    assert steer["status"] == "pending"
    run.answer(f"echo two >> {log}", "approve")
    late = run.client.asked(run.id, steer["ask_id"], timeout=20)
    assert late["status"] == "answered" and late["answer"].startswith("skipping the next step\n"), late
    assert "now at step 3 of 4" in late["answer"]
    run.over()
    assert run.outcomes() == {1: "done", 2: "done", 3: "skipped", 4: "done"}
    assert lines(log) == ["one", "two", "four"]


def test_no_step_runs_when_the_shell_is_disabled(house: House, tmp_path: Path) -> None:
    client = Client(house.url, house.key)
    ran = tmp_path / "ran"
    id = client.spawn(f"touch {ran}\n! touch {ran}", command=RUNBOOK, disabled_tools=["shell"])["id"]
    session = client.wait_session(id, 60)
    assert (session["status"], session["result"].count("denied")) == ("completed", 2)
    assert "the tool shell is disabled" in session["result"]
    assert list(client.approvals(session=id)) == []
    assert not ran.exists()
