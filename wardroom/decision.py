"""What an ask for approval came to, and the ways in which it can still not be run."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

State = Literal["approved", "denied", "expired", "cancelled", "pending"]


class NotConsumed(Exception):
    """Wardroom does not let this approval run (any more); `code` says why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class AlreadyConsumed(NotConsumed):
    """Another execution took it: whether the tool ran is not known here, so it must not run again."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one ask. Compare `state`, or ask `.approved`; its truth is refused on purpose.

    `arguments` are the ones to run: edited, when somebody edited them. `pending` means that the deadline of the
    waiter passed: neither consent nor refusal, and the request may still be answered (ask again with its `id`).
    """

    id: str
    state: State
    message: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    approval_id: str = ""
    _consume: "Callable[[Decision, str | None], Awaitable[dict[str, Any]]] | None" = field(
        default=None, repr=False, compare=False
    )

    def __bool__(self) -> NoReturn:
        raise TypeError("a Decision is neither true nor false: compare .state, or ask .approved")

    @property
    def approved(self) -> bool:
        """Somebody, or a rule, said yes to exactly these arguments."""
        return self.state == "approved"

    @asynccontextmanager
    async def consumed(self, claim: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """`async with decision.consumed() as arguments:` run the tool with them, once. Raises NotConsumed."""
        if self._consume is None:
            raise NotConsumed("not-approved", "this decision came from no line")
        yield await self._consume(self, claim)
