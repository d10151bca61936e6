"""The reference system's mailbox, brought over: in order, with its ids, once, and nothing of it thrown away."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import chdir
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from accounts import projects
from accounts.actors import Actor
from mailbox import claims, quarantine
from mailbox.ingest import maildir
from mailbox.management.commands import import_maildir
from mailbox.models import Message, Quarantined
from tests.servers.databases import ROOT

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    for part in ("new", "cur", "corrupt"):
        (tmp_path / "reviewer" / part).mkdir(parents=True)
    return tmp_path / "reviewer"


def put(folder: Any, part: Any, nanos: Any, id: Any, body: str = "do it", **more: Any) -> None:
    message = {
        "id": id,
        "from": {"session_id": "planner-7", "role": "planner"},
        "kind": "task",
        "body": body,
        "created_at": "2026-01-31T12:00:00.123456789Z",
    }
    text = body if isinstance(body, bytes) else json.dumps(message | more).encode()
    (folder / part / f"{nanos:020}-{id}.json").write_bytes(text)


def bring(folder: Any, **options: Any) -> str:
    told = StringIO()
    call_command("import_maildir", str(folder), stdout=told, **options)
    return told.getvalue().strip()


def test_claimed_and_new_ones_come_together_in_the_order_of_sending(project: UUID, folder: Any) -> None:
    put(folder, "new", 30, "c")
    put(folder, "cur", 10, "a")
    put(folder, "new", 20, "b", kind="ask", body={"question": "why?", "mode": "steer"}, correlation_id="k")
    assert bring(folder) == "3 delivered, 0 were there already, 0 unreadable (see the quarantine)"
    rows = claims.drain(project, "reviewer").messages
    assert [(row.message_id, row.message_kind) for row in rows] == [("a", "task"), ("b", "ask"), ("c", "task")]
    assert (rows[0].sender_session, rows[0].sender_role, rows[0].claimed_sender) == ("planner-7", "planner", True)
    assert rows[0].created_at.year == 2026
    assert rows[1].correlation_id == "k"


def test_a_second_run_brings_nothing_twice(project: UUID, folder: Any) -> None:
    put(folder, "new", 1, "a")
    put(folder, "new", 2, "b", body=b"{")
    put(folder, "corrupt", 3, "c", body=b"\xff")
    bring(folder)
    put(folder, "new", 4, "d")
    assert bring(folder) == "1 delivered, 1 were there already, 2 unreadable (see the quarantine)"
    assert Message.objects.count() == 2
    assert Quarantined.objects.count() == 2


def test_what_is_broken_is_quarantined_with_its_reason_and_the_rest_flows(project: UUID, folder: Any) -> None:
    put(folder, "new", 1, "a", body=b'{"id": "a", "kind": "task", "body": "cut o')
    put(folder, "new", 2, "b", kind="fenced_run", body={})
    put(folder, "new", 3, "c")
    put(folder, "new", 4, "c", body="another with its id")
    put(folder, "corrupt", 5, "d", body=b"whatever")
    assert bring(folder) == "1 delivered, 0 were there already, 4 unreadable (see the quarantine)"
    rows = {row.source_ref.split("/", 1)[1]: row for row in Quarantined.objects.all()}
    broken = rows[f"new/{1:020}-a.json"]
    assert (broken.message_id, broken.address, broken.position) == ("a", "reviewer", 36)
    assert "message_kind" in rows[f"new/{2:020}-b.json"].reason
    assert "another message" in rows[f"new/{4:020}-c.json"].reason
    assert bytes(rows[f"corrupt/{5:020}-d.json"].raw) == b"whatever"


def test_what_a_crashed_sender_left_behind_is_no_message(project: UUID, folder: Any) -> None:
    (folder / "new" / ".half-written").write_text("{")
    assert bring(folder).startswith("0 delivered")


def test_many_batches_keep_the_order(project: UUID, folder: Any) -> None:
    for number in range(450):
        put(folder, "new", 10**18 + number, f"m{number:04}")
    bring(folder, address="other")
    rows = claims.drain(project, "other", limit=1000).messages
    assert [row.message_id for row in rows] == [f"m{number:04}" for number in range(450)]


def test_a_folder_that_is_none_and_a_project_that_is_none_are_said(project: UUID, folder: Any, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no Maildir"):
        bring(tmp_path)
    with pytest.raises(CommandError, match="no project"):
        bring(folder, project="nobody")
    with pytest.raises(CommandError, match="--address"):
        bring(folder, address="a b")


def left_out(folder: Any, **options: Any) -> Any:
    """Return the lines and the error of an import that leaves files out."""
    complaints = StringIO()
    with pytest.raises(CommandError) as refusal:
        bring(folder, stderr=complaints, **options)
    lines = [line.removeprefix("left out: ") for line in complaints.getvalue().splitlines()]
    return sorted(lines), str(refusal.value)


def test_what_is_no_file_is_left_out_and_named(project: UUID, folder: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"id": "s", "kind": "task", "body": "only for us"}')
    put(folder, "new", 1, "a")
    (folder / "new" / "2.json").symlink_to(secret)
    (folder / "corrupt" / "3.json").symlink_to(tmp_path)
    os.mkfifo(folder / "cur" / "4.json")
    (folder / "new" / "5.json").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        with chdir(folder / "cur"):  # a socket's whole path may be too long
            listener.bind("6.json")
        named, said = left_out(folder)
    assert named == [
        "corrupt/3.json: a link, not a file",
        "cur/4.json: a pipe, not a file",
        "cur/6.json: a socket, not a file",
        "new/2.json: a link, not a file",
        "new/5.json: a folder, not a file",
    ]
    assert said.startswith("5 left out, still in ")
    assert [row.message_id for row in Message.objects.all()] == ["a"]
    assert not Quarantined.objects.exists()


def test_a_part_that_is_a_link_is_not_followed(project: UUID, folder: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.json").write_text('{"id": "s", "kind": "task", "body": "only for us"}')
    (folder / "new").rmdir()
    (folder / "new").symlink_to(elsewhere)
    named, _ = left_out(folder)
    assert named == ["new/1.json: behind a link, or not in a folder"]
    assert not Message.objects.exists() and not Quarantined.objects.exists()


def test_a_file_whose_name_is_not_utf8_is_delivered_or_quarantined_like_any_other(project: UUID, folder: Any) -> None:
    good = {"id": "g", "kind": "task", "body": "x"}
    for number, content in ((1, json.dumps(good).encode()), (2, b"{"), (3, b"[")):
        name = os.fsencode(folder) + b"/new/%020d-caf\xe9.json" % number
        with open(name, "wb") as file:
            file.write(content)
    # Not the same file as the second one, however it is written.
    put(folder, "new", 2, "caf\\xe9", body=b"<")
    put(folder, "new", 4, "a")
    expected = "2 delivered, 0 were there already, 3 unreadable (see the quarantine)"
    assert bring(folder) == expected
    assert bring(folder) == expected.replace("2 delivered, 0", "0 delivered, 2")
    assert sorted(bytes(row.raw) for row in Quarantined.objects.all()) == [b"<", b"[", b"{"]
    assert Quarantined.objects.filter(message_id="caf?").count() == 2


def test_files_whose_long_names_end_alike_are_each_quarantined(project: UUID, folder: Any) -> None:
    for number in (1, 2):
        put(folder, "corrupt", number, "x" * 200, body=b"%d" % number)
    bring(folder, address="a" * 200)
    bring(folder, address="b" * 200)
    assert bring(folder, address="b" * 200).startswith("0 delivered, 0 were there already, 2 unreadable")
    assert Quarantined.objects.count() == 4


def test_a_file_beyond_the_limit_is_left_out_and_one_at_the_limit_is_kept(project: UUID, folder: Any) -> None:
    most = quarantine.most_bytes()
    put(folder, "new", 1, "a", body=b"x" * most)
    put(folder, "new", 2, "b", body=b"x" * (most + 1))
    put(folder, "new", 3, "c")
    named, _ = left_out(folder)
    assert named == [f"new/{2:020}-b.json: {most + 1:,} bytes: over {most:,}"]
    assert [(row.message_id, row.size) for row in Quarantined.objects.all()] == [("a", most)]
    assert Message.objects.get().message_id == "c"


def test_only_so_many_are_named(project: UUID, folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_maildir, "MOST_NAMED", 2)
    for number in range(5):
        (folder / "new" / f"{number}.json").mkdir()
    named, said = left_out(folder)
    assert named == ["3 more", "new/0.json: a folder, not a file", "new/1.json: a folder, not a file"]
    assert said.startswith("5 left out")


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(400)
def test_the_command_brings_the_good_one_whatever_lies_beside_it_and_reads_no_large_file(
    transactional_db: None, folder: Any
) -> None:
    """Run the command as a user without all read permissions, beside files larger than its memory."""
    projects.default()
    put(folder, "new", 1, "good")
    put(folder, "new", 2, "locked")
    (folder / "new" / f"{2:020}-locked.json").chmod(0)
    for part, size in (("new", 1_500_000_000), ("cur", 200_000_000)):
        with open(folder / part / f"{size:020}-large.json", "wb") as file:
            file.truncate(size)
    for number in range(300):
        put(folder, "corrupt", number, f"c{number}", body=b"x" * (quarantine.most_bytes() - 1))
    command = [sys.executable, "-c", MEASURED, "import_maildir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert "1 delivered, 0 were there already, 300 unreadable" in done.stdout
    assert f"left out: new/{2:020}-locked.json: permission denied" in done.stderr
    assert f"left out: new/{1_500_000_000:020}-large.json: 1,500,000,000 bytes: over 1,048,576" in done.stderr
    assert f"left out: cur/{200_000_000:020}-large.json: 200,000,000 bytes: over 1,048,576" in done.stderr
    assert "3 left out" in done.stderr and "Traceback" not in done.stderr
    assert Message.objects.get().message_id == "good"
    assert int(done.stdout.split()[-1]) < 80, "MiB that the import took beyond what it began with"


#: `manage.py` by a user who may not read everything; in the end, how many MiB it took beyond what Django takes.
MEASURED = """
import ctypes, os, resource, sys, django
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()
from django.core.management import execute_from_command_line
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
execute_from_command_line(["manage.py", "check"])
# The pool's connections, and the threads that open them, are of before.
from django.db import connection
connection.ensure_connection()
if os.geteuid() == 0:
    # This thread of root gives up CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
    libc, header, caps = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, caps) == 0
    caps[0] &= ~0b110
    assert libc.capset(header, caps) == 0
before = peak()
try:
    execute_from_command_line(["manage.py", *sys.argv[1:]])
finally:
    print(peak() - before)
"""


def test_a_file_that_fails_in_a_way_that_nobody_foresaw_is_left_out_alone(
    project: UUID, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = maildir._read

    def failing(path: str, raw: Any) -> Any:
        if b"unforeseen" in raw:
            raise OverflowError("odd")
        return reading(path, raw)

    monkeypatch.setattr(maildir, "_read", failing)
    for number, body in enumerate(["x", "unforeseen", "y"]):
        put(folder, "new", number, f"m{number}", body=body)
    named, _ = left_out(folder)
    assert named == [f"new/{1:020}-m1.json: OverflowError: odd"]
    assert Message.objects.count() == 2


def test_what_was_put_away_whole_is_let_in_as_it_is_or_mended_in_its_own_words(project: UUID, folder: Any) -> None:
    put(folder, "corrupt", 1, "a")
    put(folder, "new", 2, "b", body=b'{"id": "b", "kind": "task", "body":')
    bring(folder)
    whole, cut = Quarantined.objects.order_by("source_ref")
    staff = Actor.system("staff")
    quarantine.requeue(whole.pk, staff)
    quarantine.requeue(cut.pk, staff, b'{"id": "b", "from": {"session_id": "planner-7"}, "kind": "task", "body": "x"}')
    rows = claims.drain(project, "reviewer").messages
    assert [(row.message_id, row.sender_session, row.body) for row in rows] == [
        ("a", "planner-7", "do it"),
        ("b", "planner-7", "x"),
    ]
