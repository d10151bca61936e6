"""The races of a sink that no server can be made to lose at will: each wait has a poll behind it."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from tests.waiting import all_have_begun
from wardroom import ApprovalSink, AsyncApprovalSink, AsyncClient, Client, approvals

APPROVED: dict[str, Any] = {
    "id": "a",
    "request_id": "r",
    "status": "approved",
    "decision": {"kind": "approve", "message": None, "arguments": None},
    "arguments": {"command": "ls"},
    "digest": "d",
}


class Scripted(Client):
    """A client with one prepared answer after the other."""

    def __init__(self, *answers: Any) -> None:
        super().__init__("http://127.0.0.1:1", "key")
        self.answers = list(answers)

    def wait_approval(self, id: str, timeout: float = 25.0, *, version: int | None = None) -> dict[str, Any]:
        answer: dict[str, Any] | Exception = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class AsyncScripted(AsyncClient):
    """The same with asyncio. The last answer is given again."""

    def __init__(self, *answers: Any) -> None:
        super().__init__("http://127.0.0.1:1", "key")
        self.answers = list(answers)

    async def wait_approval(self, id: str, timeout: float = 25.0, *, version: int | None = None) -> dict[str, Any]:
        await all_have_begun()
        answer: dict[str, Any] | Exception = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_an_answer_that_is_no_json_ends_the_wait_and_not_the_request() -> None:
    with ApprovalSink(Scripted(ValueError("<html>"), APPROVED)) as sink:
        with pytest.raises(ValueError, match="html"):
            sink.wait_for_approval("a", 60).result()
        assert sink.wait_for_approval("a", 60).result().approved


def test_a_deadline_that_passes_while_it_is_read_ends_the_poll_and_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with ApprovalSink(Scripted(APPROVED)) as sink:
        monkeypatch.setattr(threading.Thread, "start", lambda thread: None)
        sink.wait_for_approval("a", 60)
        monkeypatch.undo()
        [wait] = sink._waits["a"]
        moments = iter([wait.until - 0.001, wait.until + 0.001])
        monkeypatch.setattr(approvals, "time", SimpleNamespace(monotonic=lambda: next(moments)))
        assert sink._left("a") <= 0
        monkeypatch.undo()
        assert sink.wait_for_approval("a", 60).result().approved


def test_a_thread_that_cannot_start_leaves_no_wait_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with ApprovalSink(Scripted(APPROVED)) as sink:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            sink.wait_for_approval("a", 60)
        monkeypatch.undo()
        assert sink.wait_for_approval("a", 60).result().approved


async def test_a_misspelt_fallback_is_refused_before_the_wait() -> None:
    with ApprovalSink(Scripted()) as sink, pytest.raises(ValueError, match="on_timeout is 'later'"):
        sink.outcome("a", 600, on_timeout="later")
    async with AsyncScripted(APPROVED) as client, AsyncApprovalSink(client) as asynchronous:
        with pytest.raises(ValueError, match="use one of wait, deny_locally, proceed"):
            await asynchronous.outcome("a", 600, on_timeout="later")


async def test_a_wait_that_begins_while_others_are_resolved_gets_the_answer_too() -> None:
    async with AsyncScripted(APPROVED) as client, AsyncApprovalSink(client) as sink:

        async def twice() -> list[str]:
            return [(await sink.wait_for_approval("a", 5)).state for _ in range(2)]

        assert await asyncio.gather(twice(), twice()) == [["approved", "approved"]] * 2
        assert sink.waiter_count == 0


async def test_an_answer_that_is_no_json_ends_the_asynchronous_wait_at_once() -> None:
    async with AsyncScripted(ValueError("<html>"), APPROVED) as client, AsyncApprovalSink(client) as sink:
        with pytest.raises(ValueError, match="html"):
            await sink.wait_for_approval("a", 60)
        assert (await sink.wait_for_approval("a", 60)).approved
