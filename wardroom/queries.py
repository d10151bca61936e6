"""Answer questions to a running child beside its work, from a copy of its state."""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from wardroom import protocol, strict
from wardroom.protocol import ApprovalQuestion, Message

log = logging.getLogger("wardroom.queries")

Handler = Callable[[str, Any], Awaitable[Any]]
#: Sends the answer to one question.
Reply = Callable[[Any], Awaitable[None]]


def is_query(kind: str, body: Any) -> bool:
    """Return True for an ask that needs an answer but no turn of the agent. A `steer` arrives as a turn."""
    return kind == "ask" and isinstance(body, dict) and (body.get("mode") or "query") == "query"


class Queries:
    """Runs the handler once for each question, and passes its answer to `reply`."""

    def __init__(self, reply: Callable[[Message, Any], Awaitable[None]]) -> None:
        self.state: Any = None
        self.handler: Handler | None = None
        self._reply = reply
        self._running: dict[str, asyncio.Task[None]] = {}

    def take(self, message: Message) -> bool:
        """Start to answer a message from a copy of the state, when there is a handler for it.

        False leaves it to the next checkpoint.
        """
        if self.handler is None or not is_query(message.message_kind, message.body):
            return False
        self._start(self.handler, message.id, str(message.body.get("question", "")), partial(self._reply, message))
        return True

    def take_about(self, asked: ApprovalQuestion, reply: Reply) -> bool:
        """Start to answer a question about a pending approval, as `take` does for a message."""
        if self.handler is None:
            return False
        self._start(self.handler, asked.id, asked.question, reply)
        return True

    def _start(self, handler: Handler, id: str, question: str, reply: Reply) -> None:
        if id in self._running:
            return
        state, trouble = None, None
        try:
            state = copy.deepcopy(self.state)
        except Exception as error:
            trouble = error
        self._running[id] = asyncio.create_task(self._answer(handler, question, state, trouble, reply))
        self._running[id].add_done_callback(lambda done: self._running.pop(id, None))

    async def _answer(
        self, handler: Handler, question: str, state: Any, trouble: Exception | None, reply: Reply
    ) -> None:
        """Send the handler's answer, or why there is none: `trouble`, an error of the handler, or a value to refuse."""
        try:
            answer: Any
            try:
                if trouble is not None:
                    raise trouble
                answer = await handler(question, state)
                strict.check(answer)
                if len(msgspec.json.encode({"answer": answer})) > protocol.BODY_BYTES:
                    raise ValueError(f"an answer has at most {protocol.BODY_BYTES} bytes")
            except Exception as error:
                log.exception("a question could not be answered")
                answer = f"could not answer: {type(error).__name__}"
            await reply(answer)
        except Exception:  # No one can be told: the asker sees that no answer came.
            log.exception("an answer could not be sent")

    async def close(self) -> None:
        """Stop answering."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
