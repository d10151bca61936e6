"""Working folders of long ended sessions are deleted, and nothing else, whatever a child left in its own."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.db.clock import clock_at, read_database_clock
from orchestration.maintenance import retention, workdirs
from orchestration.models import Session
from orchestration.runners import process
from orchestration.sessions import lifecycle
from orchestration.states import Status
from tests.orchestration import stages

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def data(tmp_path: Path, settings: Any) -> Path:
    settings.DATA_FOLDER = tmp_path / "data"
    settings.DATA_FOLDER.mkdir()
    return tmp_path / "data"


def days(count: float) -> datetime:
    return read_database_clock() + timedelta(days=count)


def folder(session: Session) -> Path:
    mine = process.working_folder(session.pk)
    (mine / "notes").mkdir()
    (mine / "notes" / "found.txt").write_text("found")
    return mine


def test_a_folder_goes_a_month_after_its_session_ended_and_no_other() -> None:
    over, going_on = folder(stages.ended()), folder(stages.running())
    stranger = process.work_folder() / "11111111-2222-4333-8444-555555555555"
    named = process.work_folder() / "mine"
    stranger.mkdir()
    named.mkdir()
    with clock_at(days(29.9)):
        retention.sweep()
    assert over.is_dir()
    with clock_at(days(30.1)):
        retention.sweep()
    assert sorted(os.listdir(process.work_folder())) == sorted([going_on.name, stranger.name, named.name])
    assert (going_on / "notes" / "found.txt").exists()


def test_a_session_that_was_started_again_keeps_its_folder() -> None:
    session = stages.ended()
    mine = folder(session)
    lifecycle.retry(session.project, session.pk, stages.ACTOR)
    with clock_at(days(31)):
        workdirs.sweep()
    assert mine.is_dir()


def test_a_session_that_was_started_again_after_it_was_found_keeps_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    session = stages.running()
    mine = folder(session)
    monkeypatch.setattr(workdirs, "_long_over", lambda top: [session.pk])
    workdirs.sweep()
    assert (mine / "notes" / "found.txt").exists()


def test_links_in_a_folder_are_removed_and_what_they_lead_to_is_not(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o700)
    (precious / "letter").write_text("dear")
    precious.chmod(0o500)
    mine = folder(stages.ended())
    (mine / "elsewhere").symlink_to(precious)
    (mine / "notes" / "deeper").symlink_to(precious / "letter")
    with clock_at(days(31)):
        assert workdirs.sweep() == 1
    assert not mine.exists()
    assert (precious / "letter").read_text() == "dear"
    assert precious.stat().st_mode & 0o777 == 0o500


def test_a_link_that_stands_for_a_folder_is_not_followed(tmp_path: Path) -> None:
    session = stages.ended()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "letter").write_text("dear")
    process.work_folder().mkdir()
    (process.work_folder() / str(session.pk)).symlink_to(precious)
    with clock_at(days(31)):
        assert workdirs.sweep() == 0
    assert (precious / "letter").exists()


def test_a_link_that_stands_for_all_of_them_is_not_followed(tmp_path: Path) -> None:
    session = stages.ended()
    precious = tmp_path / "precious"
    (precious / str(session.pk)).mkdir(parents=True)
    process.work_folder().symlink_to(precious)
    with clock_at(days(31)):
        assert workdirs.sweep() == 0
    assert (precious / str(session.pk)).is_dir()


def test_what_a_child_made_unwritable_goes_too() -> None:
    mine = folder(stages.ended())
    (mine / "notes").chmod(0o500)
    mine.chmod(0o500)
    with clock_at(days(31)):
        assert workdirs.sweep() == 1
    assert not mine.exists()


def test_no_depth_is_too_deep() -> None:
    mine, other = folder(stages.ended()), folder(stages.ended())
    here = os.open(mine, os.O_RDONLY)
    for _ in range(sys.getrecursionlimit()):
        os.mkdir("deeper", dir_fd=here)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    try:
        with clock_at(days(31)):
            assert workdirs.sweep() == 2
        assert os.listdir(process.work_folder()) == [], [mine, other]
    finally:
        subprocess.run(["rm", "-rf", process.work_folder()], check=True)  # Nor are pytest's own hands deep enough.


def test_what_an_earlier_round_put_aside_is_finished() -> None:
    mine = folder(stages.ended())
    mine.rename(mine.with_name(f"{workdirs.GONE}{mine.name}"))
    assert workdirs.sweep() == 1
    assert os.listdir(process.work_folder()) == []


def test_a_host_without_such_folders_has_nothing_to_do() -> None:
    stages.ended(Status.ERROR)
    with clock_at(days(31)):
        assert workdirs.sweep() == 0
