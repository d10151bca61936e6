"""The gate with asyncio: over an `AsyncClient`, or over the connection of a `Child`."""

import asyncio
from typing import TYPE_CHECKING, Any, cast

from wardroom.approvals import AsyncApprovalSink, decision_of
from wardroom.client import Problem
from wardroom.decision import Decision, NotConsumed
from wardroom.gate.action import Action
from wardroom.gate.gate import LOST, PAUSE, ROUND, Told, checked, conflicting, facts_now
from wardroom.gate.refusals import ApprovalUnusable, unusable

if TYPE_CHECKING:
    from wardroom.async_client import AsyncClient
    from wardroom.child import Child


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

    async def consume(self, action: Action, decision: Decision) -> dict[str, Any]:
        """Take the one execution, and return the arguments to run. Raises ApprovalUnusable."""
        try:
            return await self._consume(decision, facts_now(action, decision.arguments))
        except NotConsumed as refusal:
            raise unusable(refusal, decision) from refusal

    async def allow(self, action: Action) -> dict[str, Any]:
        """Ask, wait and consume. Return the arguments to run now. Raises NotApproved."""
        return await self.consume(action, await self.decision(action))

    async def _consume(self, decision: Decision, facts: list[dict[str, str]] | None) -> dict[str, Any]:
        return await self.client.consume_approval(decision, facts=facts)


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

        body = action.body
        tool, arguments, id = (body.pop(name) for name in ("tool_name", "arguments", "request_id"))
        if "expires_in_secs" in body:
            body["expires_in"] = body.pop("expires_in_secs")
        try:
            return await self.child.approve(tool, arguments, id=id, timeout=self.timeout, **body)
        except Refused as refusal:
            if refusal.code != "conflict":
                raise
            raise ApprovalUnusable(refusal.detail, None, refusal.code) from refusal

    async def _consume(self, decision: Decision, facts: list[dict[str, str]] | None) -> dict[str, Any]:
        return await self.child.consume(decision, facts=facts)


def async_gate(
    target: "AsyncClient | Child | AsyncGate", *, timeout: float | None = None, on_asked: Told | None = None
) -> AsyncGate:
    """Return a gate over a client or a child. A gate is returned as it is."""
    if isinstance(target, AsyncGate):
        return target
    if hasattr(target, "ask_approval"):  # Without httpx there is no AsyncClient to compare with.
        return AsyncGate(cast("AsyncClient", target), timeout=timeout, on_asked=on_asked)
    return ChildGate(target, timeout=timeout)
