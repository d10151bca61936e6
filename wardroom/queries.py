"""Questions to a running child that must not disturb its work: answered beside it, from a copy of its state."""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from wardroom.protocol import Message

log = logging.getLogger("wardroom.queries")

Handler = Callable[[str, Any], Awaitable[Any]]


def is_query(message: Message) -> bool:
    """An ask that wants an answer and no turn of the agent (`steer` is a real turn, and arrives as one)."""
    body = message.body
    return message.message_kind == "ask" and isinstance(body, dict) and body.get("mode", "query") == "query"


class Queries:
    """Runs the handler for each question, once, and hands its answer to `reply`."""

    def __init__(self, reply: Callable[[Message, Any], Awaitable[None]]) -> None:
        self.state: Any = None
        self.handler: Handler | None = None
        self._reply = reply
        self._running: dict[str, asyncio.Task[None]] = {}

    def take(self, message: Message) -> bool:
        """Answer it here, if there is a handler for it; False leaves it to the next checkpoint."""
        if self.handler is None or not is_query(message):
            return False
        if message.id not in self._running:
            state = copy.deepcopy(self.state)
            self._running[message.id] = asyncio.create_task(self._answer(self.handler, message, state))
        return True

    async def _answer(self, handler: Handler, message: Message, state: Any) -> None:
        try:
            answer: Any
            try:
                answer = await handler(str(message.body.get("question", "")), state)
            except Exception as error:
                log.exception("a question could not be answered")
                answer = f"could not answer: {type(error).__name__}"
            await self._reply(message, answer)
        except Exception:  # Nobody to tell: the one who asked sees that no answer came.
            log.exception("an answer could not be sent")
        finally:
            del self._running[message.id]

    async def close(self) -> None:
        """Stop answering."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
