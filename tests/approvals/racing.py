"""Many at once, in threads that start on one signal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections

from core.web.problems import Problem


def all_at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Return each call's value, or the type of its refusal. Raise any other error."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        start.wait(30)
        try:
            return call()
        except Problem as refusal:
            return refusal.type
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [done.result(60) for done in [pool.submit(run, call) for call in calls]]
