"""The order of a run: modules at random, the longest first, and those that share a Wardroom together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

#: Folders whose tests share one Wardroom. It sweeps as long as it runs, also while nobody uses it.
SHARING = ("tests/reference/", "tests/e2e/conformance/")


class Order:
    """The key of a test in a stable sort of tests whose order is random.

    A module with whole Wardrooms waits more than it computes. At the beginning it runs beside modules that compute
    only, and at the end no worker runs a long test alone. A `timeout` of its own says that a test is long.
    """

    def __init__(self, items: Sequence[pytest.Item]) -> None:
        self._first: dict[str, int] = {}
        self._longest: dict[str, int] = {}
        for number, item in enumerate(items):
            group = group_of(item)
            self._first.setdefault(group, number)
            self._longest[group] = max(seconds(item), self._longest.get(group, 0))

    def __call__(self, item: pytest.Item) -> tuple[int, int]:
        group = group_of(item)
        return -self._longest[group], self._first[group]


def group_of(item: pytest.Item) -> str:
    """Return the folder or module whose tests run one after the other."""
    module = item.nodeid.partition("::")[0]
    return next((folder for folder in SHARING if module.startswith(folder)), module)


def seconds(item: pytest.Item) -> int:
    """Return the longest that the test may take: 1 where neither a marker nor a whole Wardroom makes it long."""
    timeout = item.get_closest_marker("timeout")
    if timeout is not None:
        return int(timeout.args[0])
    return 120 if item.get_closest_marker("stack") else 1
