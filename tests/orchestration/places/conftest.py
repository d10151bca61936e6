"""Launches without supervisors, and two places."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from orchestration.runners import process
from orchestration.sessions import dispatch


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any) -> list[UUID]:
    """The sessions whose supervisors would have been started, in order. Real ones are in tests/e2e/test_places.py."""
    settings.DATA_FOLDER = tmp_path
    found: list[UUID] = []

    def note(spec: process.LaunchSpec) -> int:
        found.append(UUID(spec.session))
        return 4711

    monkeypatch.setattr(process, "start_supervisor", note)
    return found


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the tasks that are published after a COMMIT."""
    names: list[str] = []
    monkeypatch.setattr(dispatch, "publish", lambda task, *args: names.append(task) or "")
    return names


@pytest.fixture
def two(timings: Any) -> Any:
    """Two places on this host."""
    return timings(processes_per_host=2, processes_per_core=2)
