"""The tool calls of one conversation: each is one request, under an id that a restart repeats.

An adapter gives them here as they come from its framework, and gets for each the arguments to run, or the reason why
it does not run.
"""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from wardroom.decision import Decision
from wardroom.gate.action import Action, Arguments, Policy
from wardroom.gate.async_gate import AsyncGate, async_gate
from wardroom.gate.gate import Outcome, Told
from wardroom.gate.refusals import ApprovalPending, ApprovalUnusable, NotApproved, refusal_of

if TYPE_CHECKING:
    from wardroom.async_client import AsyncClient
    from wardroom.child import Child

#: The arguments to run now, or the reason why nothing runs.
Verdict = Arguments | NotApproved


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as a model made it. `can_edit` is False where the framework cannot run other arguments."""

    id: str
    tool_name: str
    arguments: Arguments
    can_edit: bool = True


class Conversation:
    """Asks for the tool calls of one conversation. Use it in `async with`: its end reports the calls that ran.

    `name` names the conversation: a thread, a run, a ticket. It must be the same after a restart and different for
    every other conversation, because models repeat the ids of calls. `policies` has a policy for each tool by its name;
    `policy` is for every other tool. `timeout` bounds a wait in seconds; without it people may take their time.
    """

    def __init__(
        self,
        client: "AsyncClient | Child | AsyncGate",
        name: str,
        *,
        policy: Policy | None = None,
        policies: Mapping[str, Policy] | None = None,
        timeout: float | None = None,
        on_asked: Told | None = None,
    ) -> None:
        self.gate = async_gate(client, timeout=timeout, on_asked=on_asked)
        self.name = name
        self._policy = policy or Policy()
        self._policies = dict(policies or {})
        self._running: dict[str, tuple[Action, Decision, str]] = {}

    def action(self, call: ToolCall) -> Action:
        """Return the request of a call. The same call of the same conversation is the same request."""
        policy = self._policies.get(call.tool_name, self._policy)
        kinds = None if call.can_edit else ["approve", "deny"]
        id = self.gate.request_id(f"{self.name}:{call.id}")
        return policy.action(call.tool_name, call.arguments, id, tool_call_id=call.id[:256], allowed_decisions=kinds)

    async def answers(self, calls: Iterable[ToolCall]) -> dict[str, Decision | NotApproved]:
        """Ask for all calls at once, and return every answer by the id of the call. Nothing is consumed.

        Raises ApprovalPending when one has no answer in time. The others keep theirs for the next try.
        """
        calls = list(calls)
        if len({call.id for call in calls}) < len(calls):
            raise ValueError("two calls have the same id: an answer could reach the wrong one")
        found = dict(zip([call.id for call in calls], await asyncio.gather(*map(self._answer, calls)), strict=True))
        for answer in found.values():
            if isinstance(answer, ApprovalPending):
                raise answer
        return found

    async def verdicts(self, calls: Iterable[ToolCall]) -> dict[str, Verdict]:
        """Ask for all calls, wait for every answer, then consume the approved ones. Run them right after this returns.

        Raises ApprovalPending when one has no answer in time; then nothing is consumed.
        """
        calls = list(calls)
        answers = await self.answers(calls)
        return {call.id: await self.consumed(call, answers[call.id]) for call in calls}

    async def verdict(self, call: ToolCall) -> Verdict:
        """Return the verdict on one call. A call without an answer in time is an ApprovalPending, too."""
        try:
            return (await self.verdicts([call]))[call.id]
        except ApprovalPending as pending:
            return pending

    async def _answer(self, call: ToolCall) -> Decision | NotApproved:
        try:
            decision = await self.gate.answer(self.action(call))
        except ApprovalUnusable as refusal:
            return refusal
        return refusal_of(decision) or decision

    async def consumed(self, call: ToolCall, answer: Decision | NotApproved) -> Verdict:
        """Take the one execution of an approved call, and return the arguments to run now, or the refusal."""
        if isinstance(answer, NotApproved):
            return answer
        action, claim = self.action(call), secrets.token_urlsafe(24)
        try:
            arguments = await self.gate.consume(action, answer, claim)
        except NotApproved as refusal:
            return refusal
        self._running[call.id] = action, answer, claim
        return arguments

    async def finished(self, id: str, outcome: Outcome = "ran", detail: str | None = None) -> None:
        """Report how the run of a consumed call ended. A call that was not consumed here has nothing to report."""
        if (taken := self._running.pop(id, None)) is not None:
            await self.gate.report(*taken, outcome, detail)

    async def all_finished(self) -> None:
        """Report every call that was consumed so far as run. Call it when the framework has run them."""
        await asyncio.gather(*map(self.finished, list(self._running)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Report the calls of a conversation that has ended well. After an error nobody knows which ones ran."""
        if error is None:
            await self.all_finished()
