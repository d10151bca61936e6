"""The reference system's mailbox, brought over: in order, with its ids, once, and nothing of it thrown away."""

from __future__ import annotations

import json
import os
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.actors import Actor
from mailbox import claims, quarantine
from mailbox.models import Message, Quarantined

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path):
    for part in ("new", "cur", "corrupt"):
        (tmp_path / "reviewer" / part).mkdir(parents=True)
    return tmp_path / "reviewer"


def put(folder, part, nanos, id, body="do it", **more):
    message = {
        "id": id,
        "from": {"session_id": "planner-7", "role": "planner"},
        "kind": "task",
        "body": body,
        "created_at": "2026-01-31T12:00:00.123456789Z",
    }
    text = body if isinstance(body, bytes) else json.dumps(message | more).encode()
    (folder / part / f"{nanos:020}-{id}.json").write_bytes(text)


def bring(folder, **options):
    told = StringIO()
    call_command("import_maildir", str(folder), stdout=told, **options)
    return told.getvalue().strip()


def test_claimed_and_new_ones_come_together_in_the_order_of_sending(project, folder):
    put(folder, "new", 30, "c")
    put(folder, "cur", 10, "a")
    put(folder, "new", 20, "b", kind="ask", body={"question": "why?", "mode": "steer"}, correlation_id="k")
    assert bring(folder) == "3 delivered, 0 were there already, 0 unreadable (see the quarantine)"
    rows = claims.drain(project, "reviewer").messages
    assert [(row.message_id, row.message_kind) for row in rows] == [("a", "task"), ("b", "ask"), ("c", "task")]
    assert (rows[0].sender_role, rows[0].claimed_sender, rows[0].created_at.year) == ("planner planner-7", True, 2026)
    assert rows[1].correlation_id == "k"


def test_a_second_run_brings_nothing_twice(project, folder):
    put(folder, "new", 1, "a")
    put(folder, "new", 2, "b", body=b"{")
    put(folder, "corrupt", 3, "c", body=b"\xff")
    bring(folder)
    put(folder, "new", 4, "d")
    assert bring(folder) == "1 delivered, 1 were there already, 2 unreadable (see the quarantine)"
    assert Message.objects.count() == 2
    assert Quarantined.objects.count() == 2


def test_what_is_broken_is_quarantined_with_its_reason_and_the_rest_flows(project, folder):
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


def test_what_a_crashed_sender_left_behind_is_no_message(project, folder):
    (folder / "new" / ".half-written").write_text("{")
    assert bring(folder).startswith("0 delivered")


def test_many_batches_keep_the_order(project, folder):
    for number in range(450):
        put(folder, "new", 10**18 + number, f"m{number:04}")
    bring(folder, address="other")
    rows = claims.drain(project, "other", limit=1000).messages
    assert [row.message_id for row in rows] == [f"m{number:04}" for number in range(450)]


def test_a_folder_that_is_none_and_a_project_that_is_none_are_said(project, folder, tmp_path):
    with pytest.raises(CommandError, match="no Maildir"):
        bring(tmp_path)
    with pytest.raises(CommandError, match="no project"):
        bring(folder, project="nobody")
    with pytest.raises(CommandError, match="--address"):
        bring(folder, address="a b")


def test_links_and_pipes_are_left_out_and_said(project, folder, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text('{"id": "s", "kind": "task", "body": "only for us"}')
    put(folder, "new", 1, "a")
    (folder / "new" / "2.json").symlink_to(secret)
    (folder / "corrupt" / "3.json").symlink_to(tmp_path)
    os.mkfifo(folder / "cur" / "4.json")
    complaints = StringIO()
    assert bring(folder, stderr=complaints).startswith("1 delivered, 0 were there already, 0 unreadable")
    assert complaints.getvalue().startswith("3 left out")
    assert [row.message_id for row in Message.objects.all()] == ["a"]
    assert not Quarantined.objects.exists()


def test_a_part_that_is_a_link_is_not_followed(project, folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.json").write_text('{"id": "s", "kind": "task", "body": "only for us"}')
    (folder / "new").rmdir()
    (folder / "new").symlink_to(elsewhere)
    complaints = StringIO()
    bring(folder, stderr=complaints)
    assert complaints.getvalue().startswith("1 left out")
    assert not Message.objects.exists() and not Quarantined.objects.exists()


def test_what_was_put_away_whole_is_let_in_as_it_is_or_mended_in_its_own_words(project, folder):
    put(folder, "corrupt", 1, "a")
    put(folder, "new", 2, "b", body=b'{"id": "b", "kind": "task", "body":')
    bring(folder)
    whole, cut = Quarantined.objects.order_by("source_ref")
    staff = Actor.system("staff")
    quarantine.requeue(whole.pk, staff)
    quarantine.requeue(cut.pk, staff, b'{"id": "b", "from": {"session_id": "planner-7"}, "kind": "task", "body": "x"}')
    rows = claims.drain(project, "reviewer").messages
    assert [(row.message_id, row.sender_role, row.body) for row in rows] == [
        ("a", "planner planner-7", "do it"),
        ("b", "planner-7", "x"),
    ]
