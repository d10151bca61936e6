"""The gate with asyncio: over an `AsyncClient`, or over the connection of a `Child`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from wardroom.approvals import AsyncApprovalSink, decision_of
from wardroom.client import Problem
from wardroom.decision import Decision, NotConsumed
from wardroom.gate.action import Action
from wardroom.gate.gate import (
    LOST,
    PAUSE,
    ROUND,
    Outcome,
    Told,
    checked,
    conflicting,
    described,
    event_of,
    facts_now,
    log,
    outcome_of,
)
from wardroom.gate.refusals import ApprovalUnusable, unusable

if TYPE_CHECKING:
    from wardroom.async_client import AsyncClient
    from wardroom.child import Child


REPORT_SECS = 10.0


class AsyncGate:
    """Asks for actions and waits for their answers, over REST. See `Gate`."""

    def __init__(self, client: "AsyncClient", *, timeout: float | None = None, on_asked: Told | None = None) -> None:
        self.client = client
        self.timeout = timeout
        self._on_asked = on_asked

    def request_id(self, name: str) -> str:
        """Return the id that the next process with this key repeats for the same name."""
        return self.client.request_id(name)

    async def ask(self, action: Action) -> dict[str, Any]:
        """Ask, and return the approval. A repeated ask returns the same one, with its answer if there is one."""
        body = action.body
        try:
            try:
                approval = await self.client.ask_approval(**body)
            except LOST:
                await asyncio.sleep(PAUSE)
                approval = await self.client.ask_approval(**body)
        except Problem as problem:
            raise conflicting(problem) from problem
        if self._on_asked is not None:
            self._on_asked(approval)
        return approval

    async def wait(self, approval: dict[str, Any]) -> Decision:
        """Wait for the answer. After the timeout it is *pending*."""
        if approval["status"] != "pending":
            return decision_of(approval)
        async with AsyncApprovalSink(self.client) as sink:
            if self.timeout is None:
                return await sink.outcome(approval["id"], ROUND)
            return await sink.wait_for_approval(approval["id"], self.timeout)

    async def answer(self, action: Action) -> Decision:
        """Ask and wait. Return the decision, or *pending* after the timeout."""
        return await self.wait(await self.ask(action))

    async def decision(self, action: Action) -> Decision:
        """Ask and wait. Raises NotApproved unless the answer is an approval."""
        return checked(await self.answer(action))

    async def consume(self, action: Action, decision: Decision, claim: str) -> dict[str, Any]:
        """Take the one execution, and return the arguments to run. Raises ApprovalUnusable.

        `claim` is a secret of this execution. `report` needs it.
        """
        try:
            return await self._consume(decision, claim, facts_now(action, decision.arguments))
        except NotConsumed as refusal:
            raise unusable(refusal, decision) from refusal

    @asynccontextmanager
    async def reporting(self, action: Action, decision: Decision, claim: str) -> AsyncIterator[None]:
        """Report how the body ended: as *ran*, as *failed* with its error, or as *unknown* when it was interrupted."""
        try:
            yield
        except BaseException as error:
            await self.report(action, decision, claim, outcome_of(error), described(error))
            raise
        await self.report(action, decision, claim, "ran")

    async def report(
        self, action: Action, decision: Decision, claim: str, outcome: Outcome, detail: str | None = None
    ) -> None:
        """Report how the run ended. A report that cannot be made is logged: the run itself is over."""
        try:
            async with asyncio.timeout(REPORT_SECS):
                await self._report(action, decision, claim, outcome, detail)
        except (Problem, *LOST) as error:
            log.warning("the outcome of %s could not be reported: %s", decision.approval_id, error)

    async def _consume(self, decision: Decision, claim: str, facts: list[dict[str, str]] | None) -> dict[str, Any]:
        return await self.client.consume_approval(decision, claim, facts)

    async def _report(
        self, action: Action, decision: Decision, claim: str, outcome: Outcome, detail: str | None
    ) -> None:
        await self.client.report_outcome(decision.approval_id, outcome, claim=claim, detail=detail)


class ChildGate(AsyncGate):
    """The same inside a child of Wardroom. While it waits, the clocks of its watchdog stand still."""

    def __init__(self, child: "Child", *, timeout: float | None = None) -> None:
        self.child = child
        self.timeout = timeout

    def request_id(self, name: str) -> str:
        """Return the id that a restart of this child repeats for the same name."""
        return self.child.request_id(name)

    async def answer(self, action: Action) -> Decision:
        """Ask and wait. Return the decision, or *pending* after the timeout."""
        from wardroom.child import Refused

        tool, arguments, options = action.for_child
        try:
            return await self.child.approve(tool, arguments, timeout=self.timeout, **options)
        except Refused as refusal:
            if refusal.code != "conflict":
                raise
            raise ApprovalUnusable(refusal.detail, None, refusal.code) from refusal

    async def _consume(self, decision: Decision, claim: str, facts: list[dict[str, str]] | None) -> dict[str, Any]:
        return await self.child.consume(decision, claim, facts)

    async def _report(
        self, action: Action, decision: Decision, claim: str, outcome: Outcome, detail: str | None
    ) -> None:
        from wardroom.child import Ended

        with suppress(Ended):  # Then the attempt is over, and Wardroom knows that nothing was reported.
            await self.child.emit(**event_of(action, outcome, detail))


def async_gate(
    target: "AsyncClient | Child | AsyncGate", *, timeout: float | None = None, on_asked: Told | None = None
) -> AsyncGate:
    """Return a gate over a client or a child. A gate is returned as it is."""
    if isinstance(target, AsyncGate):
        return target
    if hasattr(target, "ask_approval"):  # Without httpx there is no AsyncClient to compare with.
        return AsyncGate(cast("AsyncClient", target), timeout=timeout, on_asked=on_asked)
    return ChildGate(target, timeout=timeout)
