"""A mailbox as the reference system's folder, and back: the same ids, in the same order."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from mailbox import claims, delivery, quarantine
from mailbox.envelope import NewMessage
from mailbox.models import Quarantined

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
IDS = ["b", "a", "../up", "x" * 256, "ünï", "a/b", "7"]


def export(address: str, folder: Path) -> str:
    told = StringIO()
    call_command("export_maildir", address, str(folder), stdout=told)
    return told.getvalue().strip()


def names(folder: Path, part: str) -> list[str]:
    return sorted(os.listdir(folder / part))


def fill(project: UUID) -> None:
    # The senders' clocks run backwards: only the mailbox knows the order.
    for place, id in enumerate(IDS):
        body = {"question": "why?", "mode": "steer"} if place == 1 else {"text": f"n{place}", "deep": [None, 1.5]}
        message = NewMessage(
            message_kind="ask" if place == 1 else "task",
            body=body,
            id=id,
            correlation_id="k" if place == 1 else None,
            created_at=NOON - timedelta(seconds=place),
            sender_session="planner-7",
            sender_role="planner",
            claimed_sender=True,
        )
        delivery.deliver(project, "reviewer", [message])


def test_an_import_reads_back_what_an_export_wrote(project: UUID, tmp_path: Path) -> None:
    fill(project)
    claims.drain(project, "reviewer", limit=2)
    quarantine.put(project, b'{"id": "broken', "maildir", "not JSON", address="reviewer")
    folder = tmp_path / "out"
    assert export("reviewer", folder) == "5 new, 2 claimed, 1 quarantined, 0 were there already"
    assert export("reviewer", folder) == "0 new, 0 claimed, 0 quarantined, 8 were there already"
    claims.drain(project, "reviewer", limit=1)
    assert export("reviewer", folder).endswith("8 were there already"), "a message that was claimed since"
    assert oct((folder / "new").stat().st_mode & 0o777) == "0o700"
    assert {oct(each.stat().st_mode & 0o777) for each in (folder / "new").iterdir()} == {"0o600"}
    told = StringIO()
    # Ids are unique in their project, so the way back leads into another one.
    other = elsewhere()
    call_command("import_maildir", str(folder), address="back", project="elsewhere", stdout=told)
    assert told.getvalue().startswith("7 delivered, 0 were there already, 1 unreadable")
    back = claims.drain(other, "back", limit=50).messages
    assert [row.message_id for row in back] == IDS
    assert [row.body for row in back][:2] == [
        {"text": "n0", "deep": [None, 1.5]},
        {"question": "why?", "mode": "steer"},
    ]
    assert {(row.sender_session, row.sender_role, row.claimed_sender) for row in back} == {
        ("planner-7", "planner", True)
    }
    assert [row.created_at for row in back] == [NOON - timedelta(seconds=place) for place in range(len(IDS))]
    assert bytes(Quarantined.objects.get(project=other).raw) == b'{"id": "broken'


def elsewhere() -> UUID:
    from accounts.models import Project

    return Project.objects.create(slug="elsewhere").pk


def test_a_file_is_what_the_reference_reads(project: UUID, tmp_path: Path) -> None:
    fill(project)
    export("reviewer", tmp_path)
    files = names(tmp_path, "new")
    assert files[0] == f"{int(NOON.timestamp()) * 10**9:020}-b.json"
    assert json.loads((tmp_path / "new" / files[1]).read_text()) == {
        "id": "a",
        "from": {"session_id": "planner-7", "role": "planner"},
        "kind": "ask",
        "body": {"question": "why?", "mode": "steer"},
        "created_at": "2026-01-31T11:59:59.000000Z",
        "correlation_id": "k",
    }


def test_no_name_leaves_the_folder(project: UUID, tmp_path: Path) -> None:
    fill(project)
    export("reviewer", tmp_path / "in" / "here")
    assert os.listdir(tmp_path) == ["in"]
    assert os.listdir(tmp_path / "in") == ["here"]
    assert len(names(tmp_path / "in" / "here", "new")) == len(IDS)


def test_a_link_in_the_place_of_a_hidden_file_is_not_written_through(project: UUID, tmp_path: Path) -> None:
    fill(project)
    theirs = tmp_path / "theirs"
    theirs.write_text("keep")
    (tmp_path / "out" / "new").mkdir(parents=True)
    os.link(theirs, tmp_path / "out" / "new" / f".{int(NOON.timestamp()) * 10**9:020}-b.json")
    export("reviewer", tmp_path / "out")
    assert theirs.read_text() == "keep"
    assert len(names(tmp_path / "out", "new")) == len(IDS)


def test_what_is_missing_is_an_error_of_one_line(project: UUID, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no mailbox 'nobody'"):
        export("nobody", tmp_path)
    fill(project)
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="file"):
        export("reviewer", tmp_path / "file")


@pytest.mark.parametrize("part", ["new", "cur", "corrupt"])
def test_a_part_that_is_a_link_gets_nothing(project: UUID, tmp_path: Path, part: str) -> None:
    fill(project)
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "out"
    for each in (elsewhere, folder):
        each.mkdir()
    (folder / part).symlink_to(elsewhere)
    with pytest.raises(CommandError, match=f"{part}/ is a link"):
        export("reviewer", folder)
    assert list(elsewhere.iterdir()) == []
