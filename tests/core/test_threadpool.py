"""Operations off the event loop, and the database connections of their threads."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, connections

from accounts import projects
from core.concurrency.threadpool import run_in_threadpool

pytestmark = pytest.mark.django_db(transaction=True)


def used() -> Any:
    """The connection of this thread, after a query."""
    projects.default()
    return connections["default"]


def broken() -> Any:
    found = used()
    with found.cursor() as cursor, pytest.raises((OperationalError, ProgrammingError)):
        cursor.execute("SELECT nothing_of_this_name")
    return found


async def test_a_thread_keeps_its_connection_to_sqlite_and_gives_that_of_a_pool_back() -> None:
    mine = await run_in_threadpool(used)
    assert (mine.connection is not None) == (mine.vendor == "sqlite")


async def test_no_thread_keeps_a_connection_after_an_error() -> None:
    assert (await run_in_threadpool(broken)).connection is None
