"""Calls at another time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ParamSpec, TypeVar

from core.db.clock import clock_at

Params = ParamSpec("Params")
Result = TypeVar("Result")


def call_at(
    moment: datetime | None, call: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs
) -> Result:
    """Call it with the database's clock at this moment. A thread does not inherit the clock of its starter."""
    with clock_at(moment):
        return call(*args, **kwargs)
