"""The admitted messages in a folder: the file is whole or absent, and trouble with it stops no child."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.process import short_folder
from wardroom import protocol
from wardroom.admitted import AdmittedSet, NotAdmittedIds
from wardroom.admitted.admissions import Admissions
from wardroom.protocol import Message
from wardroom.wire import reports

pytestmark = pytest.mark.once

WRITER = """
import os, signal, sys
import wardroom.admitted.file
from wardroom.admitted import AdmittedSet
from wardroom import protocol
from wardroom.admitted.admissions import Admissions
from wardroom.protocol import Message

def message(id):
    return Message(id=id, message_kind="task", text=id, body={"text": id}, created_at="2026-01-01T00:00:00Z")

def admissions(folder):
    it = Admissions.kept_in(folder, "s1", AdmittedSet())
    it.read_history([])
    return it
"""


def message(id: str, kind: str = "task", body: Any = None) -> Message:
    return Message(id=id, message_kind=kind, text=id, body=body, created_at="2026-01-01T00:00:00Z")


def admissions(folder: Path, history: list[dict[str, Any]] | None = None, session: str = "s1") -> Admissions:
    it = Admissions.kept_in(folder, session, AdmittedSet())
    it.read_history([] if history is None else history)
    return it


def ids(messages: list[Message]) -> list[str]:
    return [each.id for each in messages]


def script(folder: Path, body: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER + body, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_set_comes_back_from_its_json_in_order() -> None:
    admitted = AdmittedSet(["b", "a", "ü"])
    again = AdmittedSet.from_json(admitted.to_json())
    assert list(again) == ["b", "a", "ü"]
    assert "a" in again and "c" not in again
    assert list(AdmittedSet.from_json('["1", "2", "2", "3"]', limit=2)) == ["2", "3"]


@pytest.mark.parametrize("text", ["", "[", "{}", "null", '["a", 1]', '[""]', "[" * 100_000])
def test_a_text_that_is_no_set_is_never_an_empty_one(text: str) -> None:
    with pytest.raises(NotAdmittedIds, match="admitted ids"):
        AdmittedSet.from_json(text)


def test_a_restarted_child_admits_no_message_again_and_finds_it_in_its_history(tmp_path: Path) -> None:
    first = admissions(tmp_path)
    assert ids(first.admit([message("a"), message("b")], last_event=0)) == ["a", "b"]
    history: list[dict[str, Any]] = [{"role": "user", "content": "a", "id": "a"}]
    second = admissions(tmp_path, history)
    assert [entry["id"] for entry in history] == ["a", "b"], "Wardroom had not heard of the second one"
    assert history[1] == {"role": "user", "content": "b", "id": "b", "message_kind": "task", "correlation_id": None}
    assert ids(second.admit([message("b"), message("c")], last_event=0)) == ["c"]
    assert second.unconfirmed == ["b", "c"]


def test_a_message_that_an_acknowledged_event_follows_is_confirmed(tmp_path: Path) -> None:
    child = admissions(tmp_path)
    child.admit([message("a")], last_event=3)
    child.confirm(3)
    assert child.unconfirmed == ["a"]
    child.confirm(4)
    child.admit([message("b")], last_event=4)
    history: list[dict[str, Any]] = []
    again = admissions(tmp_path, history)
    assert [entry["id"] for entry in history] == ["b"]
    assert "a" in again


def test_an_id_of_the_history_is_never_forgotten(tmp_path: Path) -> None:
    history = [{"role": "user", "content": "x", "id": str(number)} for number in range(5000)]
    for folder in (None, tmp_path):
        child = Admissions.kept_in(folder, "s1", AdmittedSet())
        child.read_history(list(history))
        assert child.admit([message("0")], last_event=0) == []
        assert len(child.cache) == 4096


def test_an_unconfirmed_message_is_known_however_many_follow(tmp_path: Path) -> None:
    child = admissions(tmp_path)
    child.admit([message(str(number)) for number in range(4200)], last_event=0)
    history: list[dict[str, Any]] = []
    assert admissions(tmp_path, history).admit([message("0")], last_event=0) == []
    assert [entry["id"] for entry in history] == [str(number) for number in range(4200)]


def test_any_number_of_admissions_fits_into_frames() -> None:
    frames = reports([str(number) for number in range(5000)])
    assert [protocol.decode_child(protocol.encode(frame)) for frame in frames] == frames
    assert [id for frame in frames for id in frame.ids] == [str(number) for number in range(5000)]
    assert reports([]) == []


def test_a_question_beside_the_work_is_asked_again(tmp_path: Path) -> None:
    """It is no part of the history, and its second answer is refused."""
    asked = message("q", kind="ask", body={"question": "?"})
    assert ids(admissions(tmp_path).admit([asked], last_event=0)) == ["q"]
    assert ids(admissions(tmp_path).admit([asked], last_event=0)) == ["q"]


def test_the_file_belongs_to_its_owner_alone_and_one_folder_serves_many_sessions(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    for session in ("s1", "../s2"):
        admissions(folder, session=session).admit([message(session)], last_event=0)
    assert sorted(path.name for path in folder.iterdir()) == [
        "admitted-..%2Fs2.json",
        "admitted-..%2Fs2.lock",
        "admitted-s1.json",
        "admitted-s1.lock",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "../s2" not in admissions(folder)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"session": "s1"',
        '{"format": 2, "session": "s1", "admitted": [], "unconfirmed": []}',
        '{"format": 1, "session": "other", "admitted": ["a"], "unconfirmed": []}',
        '{"format": 1, "session": "s1", "admitted": [7], "unconfirmed": []}',
        '{"format": 1, "session": "s1", "admitted": [], "unconfirmed": [{}]}',
    ],
)
def test_a_broken_or_foreign_file_is_set_aside_with_an_error(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "admitted-s1.json"
    file.write_text(content)
    child = admissions(tmp_path)
    assert caplog.records[0].levelno == logging.ERROR
    assert str(file) in caplog.text
    (aside,) = tmp_path.glob("admitted-s1.broken-*")
    assert aside.read_text() == content
    assert ids(child.admit([message("a")], last_event=0)) == ["a"]
    assert "a" in admissions(tmp_path)


def test_a_file_that_is_no_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "admitted-s1.json")
    assert ids(admissions(tmp_path).admit([message("a")], last_event=0)) == ["a"]
    assert "regular file" in caplog.text


STEPS = ["open", "write", "fsync", "replace", "replaced", "fsync folder", "done"]
KILLED = """
def die(when):
    if when == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

real_open, real_fsync, real_replace = os.open, os.fsync, os.replace

def opening(path, flags, *rest, **more):
    if str(path).endswith(".tmp"):
        die("open")
        try:
            return real_open(path, flags, *rest, **more)
        finally:
            die("write")
    return real_open(path, flags, *rest, **more)

def syncing(descriptor):
    die("fsync folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "fsync")
    real_fsync(descriptor)

def replacing(*paths):
    die("replace")
    real_replace(*paths)
    die("replaced")

child = admissions(sys.argv[1])
child.admit([message("a")], last_event=0)
os.open, os.fsync, os.replace = opening, syncing, replacing
child.admit([message("b")], last_event=0)
die("done")
"""


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_leaves_the_former_file_or_the_new_one(
    tmp_path: Path, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    command = [sys.executable, "-c", WRITER + KILLED, str(tmp_path), step]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    history: list[dict[str, Any]] = []
    child = admissions(tmp_path, history)
    admitted = child.admit([message("a"), message("b"), message("c")], last_event=0)
    was_written = STEPS.index(step) > STEPS.index("replace")
    # A message is in the history of the new process, or it is admitted by it: never both, never neither.
    assert [entry["id"] for entry in history] == (["a", "b"] if was_written else ["a"])
    assert ids(admitted) == (["c"] if was_written else ["b", "c"])
    assert caplog.records == []


RACE = """
sys.stdin.readline()
child = admissions(sys.argv[1])
for number in range(40):
    for each in child.admit([message(f"m{number}")], last_event=0):
        print(each.id, flush=True)
"""


def test_of_two_processes_of_a_session_one_admits_each_message(tmp_path: Path) -> None:
    racers = [script(tmp_path, RACE, stdin=subprocess.PIPE) for _ in range(3)]
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate(timeout=120) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0], said
    assert sorted(line for out, _ in said for line in out.splitlines()) == sorted(f"m{n}" for n in range(40))
    stored = json.loads((tmp_path / "admitted-s1.json").read_text())
    assert sorted(stored["admitted"]) == sorted(f"m{n}" for n in range(40))


HOLD = """
import fcntl
lock = open(os.path.join(sys.argv[1], "admitted-s1.lock"), "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
signal.pause()
"""


def test_a_process_that_keeps_the_lock_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    holder = script(tmp_path, HOLD)
    try:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        child = admissions(tmp_path)
        assert ids(child.admit([message("a")], last_event=0)) == ["a"]
        assert "cannot be used" in caplog.text
    finally:
        holder.kill()
        holder.communicate()
    assert ids(child.admit([message("b")], last_event=0)) == ["b"]
    assert "a" in admissions(tmp_path), "what could not be written is written with the next one"


FULL = """
import logging, resource
logging.basicConfig(format="%(levelname)s %(message)s")
child = admissions(sys.argv[1])
child.admit([message("a")], last_event=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
for number in range(3):
    print([each.id for each in child.admit([message(f"m{number}"), message("a")], last_event=0)])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print([each.id for each in child.admit([message("z"), message("m0")], last_event=0)])
"""


def test_a_full_disk_is_warned_of_and_the_child_goes_on(tmp_path: Path) -> None:
    child = script(tmp_path, FULL)
    out, err = child.communicate(timeout=60)
    assert out.splitlines() == ["['m0']", "['m1']", "['m2']", "['z']"], err
    warnings = [line for line in err.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == 1 and "File too large" in warnings[0], err
    stored = json.loads((tmp_path / "admitted-s1.json").read_text())
    assert stored["admitted"] == ["a", "m0", "m1", "m2", "z"]


READ_ONLY = """
import logging
logging.basicConfig(format="%(levelname)s %(message)s")
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
child = admissions(sys.argv[1])
print([each.id for each in child.admit([message("a"), message("b")], last_event=0)])
"""


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_cannot_be_written_is_warned_of_and_still_read(mode: int) -> None:
    folder = short_folder()  # Another user can reach it.
    admissions(folder).admit([message("a")], last_event=0)
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(mode)
    try:
        out, err = script(folder, READ_ONLY).communicate(timeout=60)
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)
    assert out.strip() == ("['b']" if mode else "['a', 'b']"), err
    assert "WARNING" in err and "cannot be used" in err


def test_a_folder_that_is_no_folder_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    child = admissions(tmp_path / "file")
    assert ids(child.admit([message("a")], last_event=0)) == ["a"]
    assert ids(child.admit([message("a"), message("b")], last_event=0)) == ["b"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
