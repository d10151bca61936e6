"""The two tasks of a connection end together."""

from __future__ import annotations

import asyncio

import pytest

from orchestration.connections import connection


async def test_the_first_error_ends_the_other_task_and_is_raised() -> None:
    ended = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fails() -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        await connection._until_one_fails(waits(), fails())
    assert ended.is_set()
