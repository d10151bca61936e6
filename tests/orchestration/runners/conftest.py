"""Runner plug-ins for one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import metadata as packages
from typing import Any

import pytest

from orchestration.runners import registry

Install = Callable[..., None]


class Point:
    """An entry point whose object is given."""

    def __init__(self, name: str, made: Any) -> None:
        self.name, self.value, self._made = name, f"acme:{name}", made

    def load(self) -> Any:
        if isinstance(self._made, BaseException):
            raise self._made
        return self._made


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install(name=class)`: the runners of this process, for this test."""

    def caches() -> None:
        registry.plugins.cache_clear()
        registry.load.cache_clear()
        registry._silent_until.clear()
        registry._open.clear()

    def install(**runners: Any) -> None:
        points = [Point(name, made) for name, made in runners.items()]
        monkeypatch.setattr(packages, "entry_points", lambda group: points if group == "wardroom.runners" else [])
        caches()

    yield install
    caches()
