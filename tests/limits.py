"""Other numbers of the design for one test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from core.limits import LIMITS


class Timings:
    """Changes single values of the frozen `LIMITS` of this process, and gives all of them back at the end."""

    def __init__(self) -> None:
        self._before = ExitStack()

    def __call__(self, **values: Any) -> ExitStack:
        """Change these values for the rest of the test, or for a `with` block."""
        block = ExitStack()
        for name, value in values.items():
            before = getattr(LIMITS, name)
            for stack in (block, self._before):
                stack.callback(object.__setattr__, LIMITS, name, before)
            object.__setattr__(LIMITS, name, value)
        return block

    def restore(self) -> None:
        self._before.close()
