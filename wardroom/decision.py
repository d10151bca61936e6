"""The result of an approval request, and the reasons why an approved action still cannot run."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypedDict

State = Literal["approved", "denied", "expired", "cancelled", "pending"]
#: The preconditions of an action as they are now, each `{name, value_hash}`.
Facts = list[dict[str, str]] | None
#: What a caller does when its wait ends without an answer.
Fallback = Literal["deny_locally", "proceed"]


class AskOptions(TypedDict, total=False):
    """The optional members of a request.

    `tool_schema` is the JSON Schema of the arguments: a person's edit must fit it. `response_schema` is the form of a
    response, for `allowed_decisions=["respond"]`.
    """

    question: str | None
    risk: str | None
    reversibility: str | None
    preconditions: list[dict[str, str]] | None
    tool_call_id: str | None
    tool_schema_version: str | None
    allowed_decisions: list[str] | None
    tool_schema: dict[str, Any] | None
    response_schema: dict[str, Any] | None


class NotConsumed(Exception):
    """Wardroom does not allow this approval to run, or no longer. `code` is the reason."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class AlreadyConsumed(NotConsumed):
    """Another execution took it. The outcome is unknown here, so the tool must not run again."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one request. Compare `state`, or use `.approved`; `bool()` raises on purpose.

    `arguments` are the ones to run, with any edits. `pending` means that the wait timed out: neither consent nor
    refusal. The request may still be answered; request again with its `id`. `fallback` is what the caller does without
    an answer, as Wardroom has recorded it. It is no decision: `state` stays `pending`. `kind` is `approve`, `deny`,
    `edit` or `respond`; over the connection of a child it is not known. `response` is the response
    to a question that had a form.
    """

    id: str
    state: State
    message: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    approval_id: str = ""
    fallback: Fallback | None = None
    kind: str | None = None
    response: dict[str, Any] | None = None
    _consume: "Callable[[Decision, str | None, Facts], Awaitable[dict[str, Any]]] | None" = field(
        default=None, repr=False, compare=False
    )

    def __bool__(self) -> NoReturn:
        raise TypeError("a Decision is neither true nor false: compare .state, or use .approved")

    @property
    def approved(self) -> bool:
        """True when a person or a rule approved exactly these arguments."""
        return self.state == "approved"

    @property
    def may_run(self) -> bool:
        """True when it is approved, or when the caller's recorded fallback is to proceed without an answer."""
        return self.approved or self.fallback == "proceed"

    @asynccontextmanager
    async def consumed(self, claim: str | None = None, facts: Facts = None) -> AsyncIterator[dict[str, Any]]:
        """Consume the execution: `async with decision.consumed() as arguments:` runs it once. Raises NotConsumed.

        `facts` are the preconditions as they are now, each `{name, value_hash}`.
        """
        if self._consume is None:
            raise NotConsumed("not-approved", "this decision came from no connection")
        yield await self._consume(self, claim, facts)
