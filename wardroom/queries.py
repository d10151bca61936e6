"""Answer questions to a running child beside its work, from a copy of its state."""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from wardroom import protocol, strict
from wardroom.protocol import Message

log = logging.getLogger("wardroom.queries")

Handler = Callable[[str, Any], Awaitable[Any]]


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
        if message.id not in self._running:
            state, trouble = None, None
            try:
                state = copy.deepcopy(self.state)
            except Exception as error:
                trouble = error
            self._running[message.id] = asyncio.create_task(self._answer(self.handler, message, state, trouble))
        return True

    async def _answer(self, handler: Handler, message: Message, state: Any, trouble: Exception | None) -> None:
        """Send the handler's answer, or why there is none: `trouble`, an error of the handler, or a value to refuse."""
        try:
            answer: Any
            try:
                if trouble is not None:
                    raise trouble
                answer = await handler(str(message.body.get("question", "")), state)
                strict.check(answer)
                if len(msgspec.json.encode({"answer": answer})) > protocol.BODY_BYTES:
                    raise ValueError(f"an answer has at most {protocol.BODY_BYTES} bytes")
            except Exception as error:
                log.exception("a question could not be answered")
                answer = f"could not answer: {type(error).__name__}"
            await self._reply(message, answer)
        except Exception:  # No one can be told: the asker sees that no answer came.
            log.exception("an answer could not be sent")
        finally:
            del self._running[message.id]

    async def close(self) -> None:
        """Stop answering."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
