"""Questions beside the work: one handler for each, on a copy, and always an answer that can be sent."""

import asyncio
import threading
from typing import Any

import pytest

from wardroom.protocol import BODY_BYTES, Message, Sender
from wardroom.queries import Handler, Queries, is_query


def ask(id: str = "q", **body: Any) -> Message:
    asked = {"question": "how far?", **body}
    return Message(id=id, sender=Sender(), message_kind="ask", body=asked, text="", created_at="2026-01-01T00:00:00Z")


class Answers:
    """A child's questions and their answers."""

    def __init__(self, handler: Handler | None, state: Any = None) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.came = asyncio.Event()
        self.queries = Queries(self._reply)
        self.queries.handler, self.queries.state = handler, state

    async def _reply(self, message: Message, answer: Any) -> None:
        self.sent.append((message.id, answer))
        self.came.set()

    async def to(self, message: Message) -> Any:
        assert self.queries.take(message)
        await asyncio.wait_for(self.came.wait(), 5)
        await self.queries.close()
        return self.sent[-1][1]


def test_only_an_ask_that_is_no_steer_is_a_query() -> None:
    asks = [ask(), ask(mode="query"), ask(mode=None)]
    assert all(is_query(each.message_kind, each.body) for each in asks)
    steer = ask(mode="steer")
    assert not is_query(steer.message_kind, steer.body)
    for kind, body in (("task", {"question": "x"}), ("ask", "a text"), ("reply", {"answer": 1})):
        other = Message(id="x", sender=Sender(), message_kind=kind, body=body, text="", created_at="")
        assert not is_query(other.message_kind, other.body)
    assert not Queries(None).take(ask()), "without a handler it waits for the checkpoint"


async def test_the_handler_gets_a_copy_as_it_was_when_the_question_came() -> None:
    changed = asyncio.Event()

    async def handler(question: str, state: Any) -> Any:
        await changed.wait()
        state["done"].append("not the child's")
        return [question, state["done"][:-1]]

    answers = Answers(handler, {"done": [1]})
    assert answers.queries.take(ask())
    answers.queries.state["done"].append(2)
    changed.set()
    await asyncio.wait_for(answers.came.wait(), 5)
    assert answers.sent == [("q", ["how far?", [1]])]
    assert answers.queries.state == {"done": [1, 2]}


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        ({1, 2}, "StrictJSONError"),
        (float("nan"), "StrictJSONError"),
        ("a\0b", "StrictJSONError"),
        ("x" * BODY_BYTES, "ValueError"),
        (RuntimeError("no idea"), "RuntimeError"),
    ],
)
async def test_what_cannot_be_answered_is_said(returned: Any, error: str) -> None:
    async def handler(question: str, state: Any) -> Any:
        if isinstance(returned, Exception):
            raise returned
        return returned

    assert await Answers(handler).to(ask()) == f"could not answer: {error}"


async def test_a_state_that_cannot_be_copied_fails_the_question_and_not_the_connection() -> None:
    async def handler(question: str, state: Any) -> Any:
        return "never"

    assert await Answers(handler, {"lock": threading.Lock()}).to(ask()) == "could not answer: TypeError"


async def test_a_question_that_comes_again_while_it_is_answered_runs_once() -> None:
    go, ran = asyncio.Event(), []

    async def handler(question: str, state: Any) -> Any:
        ran.append(question)
        await go.wait()
        return "once"

    answers = Answers(handler)
    assert answers.queries.take(ask()) and answers.queries.take(ask())
    go.set()
    await asyncio.wait_for(answers.came.wait(), 5)
    await answers.queries.close()
    assert (ran, answers.sent) == (["how far?"], [("q", "once")])
