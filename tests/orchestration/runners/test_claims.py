"""The claims of a runner host: what is claimed runs, whatever another attempt does to the look."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from accounts.models import Project
from orchestration.models import Session
from orchestration.runner_host import claims
from orchestration.runners import process
from orchestration.sessions import lifecycle, spawn
from orchestration.sessions.spawn import SpawnOrder
from tests.orchestration import stages
from tests.orchestration.runners.conftest import Install
from tests.orchestration.stages import ACTOR

pytestmark = pytest.mark.django_db


class Acme:
    def should_handle(self, session: Any) -> bool:
        return True

    async def execute(self, job: Any, events: Any, cancel: Any) -> None: ...


def queued(project: Project | None = None) -> Session:
    return spawn.spawn(project or stages.project(), SpawnOrder(assignment="count"), ACTOR).session


@pytest.fixture(autouse=True)
def acme(install: Install, settings: Any, tmp_path: Path) -> None:
    settings.DATA_FOLDER = tmp_path
    install(acme=Acme)


def test_a_project_with_a_long_queue_delays_another_one_by_one_job() -> None:
    mine = [queued() for _ in range(4)]
    theirs = queued(Project.objects.create(slug="other"))
    claimed = [claims.claim(["acme"], 1)[0].session for _ in range(3)]
    assert claimed == [str(mine[0].pk), str(theirs.pk), str(mine[1].pk)]


def test_metadata_that_cannot_be_read_loses_no_attempt_claimed_before_it() -> None:
    first, broken, last = queued(), queued(), queued()
    Session.objects.filter(pk=broken.pk).update(metadata=[1])
    assert [each.session for each in claims.claim(["acme"], 5)] == [str(first.pk), str(last.pk)]


def test_an_end_that_cannot_be_stored_loses_no_attempt_claimed_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk refuses the working folder, and then the record of that too."""
    first, second = queued(), queued()
    make = process.working_folder

    def working_folder(session_id: UUID) -> Path:
        if session_id == second.pk:
            raise OSError(28, "No space left on device")
        return make(session_id)

    def finish(*_: Any, **__: Any) -> bool:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(process, "working_folder", working_folder)
    monkeypatch.setattr(lifecycle, "finish", finish)
    assert [each.session for each in claims.claim(["acme"], 5)] == [str(first.pk)]
