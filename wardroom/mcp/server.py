"""The MCP servers: one for agents, with tools to ask and wait, and one for a person, with tools to answer."""

import json
import secrets
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from wardroom.adapters.claude import ClaudeApprovals
from wardroom.approvals import AsyncApprovalSink, decision_of
from wardroom.calls.requests import given
from wardroom.client import Problem
from wardroom.decision import Decision, NotConsumed
from wardroom.extras import require
from wardroom.gate.action import Policy
from wardroom.gate.refusals import refusal_of, unusable

require("mcp", "mcp")
require("httpx", "mcp")

from mcp.server import MCPServer  # noqa: E402 - after the check, whose error names the extra.
from mcp.server.mcpserver.exceptions import ToolError  # noqa: E402

from wardroom.async_client import AsyncClient  # noqa: E402

P = ParamSpec("P")
T = TypeVar("T")

#: A call of a tool is held no longer than this: most clients give up after a minute.
LONGEST_HOLD = 50.0
INSTRUCTIONS = """Ask for approval before each action that you were told to ask for.
Ask with request_approval. Wait with wait_for_approval until the status is no longer pending. Call consume_approval
right before you run the action, run exactly the arguments that it returns, once, and then call report_outcome. A status
of pending or expired is no consent and no refusal."""


def told(call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Return the tool with refusals of Wardroom as errors that the model can read."""

    @wraps(call)
    async def tool(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await call(*args, **kwargs)
        except (Problem, OSError) as error:
            raise ToolError(str(error)) from error

    return tool


def summary(approval: dict[str, Any]) -> dict[str, Any]:
    """Return an approval as a model reads it. The arguments to run come from `consume_approval` alone."""
    decision = decision_of(approval)
    refusal = refusal_of(decision)
    if refusal is None:
        note = "Approved. Call consume_approval right before you run it, and run the arguments that it returns."
    elif decision.kind == "respond":
        note = "A person has answered in words. Nothing runs by it."
    else:
        note = str(refusal)
    return {
        "approval_id": approval["id"],
        "status": approval["status"],
        "note": note,
        "message": decision.message,
        "arguments": decision.arguments if refusal is None else None,
        "expires_at": approval["expires_at"],
        "open_questions": approval["open_questions"],
    }


class AskingTools:
    """Ask, wait, look, withdraw, consume: for one conversation of an agent."""

    def __init__(self, client: AsyncClient, conversation: str) -> None:
        self._client = client
        self._conversation = conversation
        self._claims: dict[str, str] = {}

    async def request_approval(
        self,
        tool_name: str,
        arguments: dict[str, Any],
        resource: str,
        permission: str = "tool",
        question: str | None = None,
        risk: str | None = None,
        reversibility: str | None = None,
        expires_in_secs: int | None = None,
        request_name: str | None = None,
    ) -> dict[str, Any]:
        """Ask people for approval to run a tool with exactly these arguments. It returns at once, mostly as pending.

        `resource` is the target of the action. `question` is your own reason, in plain words. `risk` is medium,
        high or critical. `reversibility` is read_only, reversible, externally_reversible or irreversible. The same
        `request_name` with the same action is the same request: name it to be able to ask again after a restart.
        """
        options = given(question=question, risk=risk, reversibility=reversibility, expires_in_secs=expires_in_secs)
        id = None if request_name is None else self._client.request_id(f"{self._conversation}:{request_name}")
        asked = await self._client.ask_approval(
            tool_name, arguments, permission=permission, resource=resource, request_id=id, **options
        )
        return summary(asked)

    async def wait_for_approval(self, approval_id: str, timeout_secs: float = 25.0) -> dict[str, Any]:
        """Wait for the answer, at most 50 seconds. `pending` means that there is none yet: call it again."""
        async with AsyncApprovalSink(self._client) as sink:
            await sink.wait_for_approval(approval_id, min(timeout_secs, LONGEST_HOLD))
        return await self.get_approval(approval_id)

    async def get_approval(self, approval_id: str) -> dict[str, Any]:
        """Return a request as it is now, with the questions of people that wait for your answer."""
        shown = summary(await self._client.approval(approval_id))
        if shown["open_questions"]:
            asked = (await self._client.approval_questions(approval_id))["results"]
            shown["questions"] = [
                {"question_id": each["id"], "question": each["question"]} for each in asked if each["answer"] is None
            ]
        return shown

    async def answer_question(self, approval_id: str, question_id: str, answer: str) -> dict[str, Any]:
        """Answer a person's question about your own request. The request stays pending."""
        await self._client.answer_question(approval_id, question_id, answer)
        return await self.get_approval(approval_id)

    async def withdraw_approval(self, approval_id: str, reason: str | None = None) -> dict[str, Any]:
        """Withdraw a request that you no longer need."""
        return summary(await self._client.withdraw_approval(approval_id, reason))

    async def consume_approval(self, approval_id: str) -> dict[str, Any]:
        """Take the one execution of an approved request, right before you run it. Run exactly these arguments, once."""
        decision: Decision = decision_of(await self._client.approval(approval_id))
        if (refusal := refusal_of(decision)) is not None:
            raise ToolError(str(refusal))
        claim = self._claims[approval_id] = secrets.token_urlsafe(24)
        try:
            return {"arguments": await self._client.consume_approval(decision, claim)}
        except NotConsumed as error:
            raise ToolError(str(unusable(error, decision))) from error

    async def report_outcome(self, approval_id: str, outcome: str, detail: str | None = None) -> dict[str, Any]:
        """Report how the run of a consumed approval ended: ran, failed, or unknown if you cannot tell."""
        claim = self._claims.get(approval_id)
        return summary(await self._client.report_outcome(approval_id, outcome, **given(claim=claim, detail=detail)))


class DecidingTools:
    """List, look, decide: for a person, with that person's own key."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list_pending_approvals(self, limit: int = 20) -> list[dict[str, Any]]:
        """List pending requests, each with its exact action and the digest that an answer needs."""
        found: list[dict[str, Any]] = []
        async for each in self._client.approvals(status="pending", limit=min(max(limit, 1), 50)):
            found.append(_shown(each))
            if len(found) >= limit:
                break
        return found

    async def get_approval(self, approval_id: str) -> dict[str, Any]:
        """Return a request as it is now."""
        return _shown(await self._client.approval(approval_id))

    async def decide_approval(
        self,
        approval_id: str,
        decision: str,
        digest: str,
        version: int,
        message: str | None = None,
        arguments: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Answer a request as the person that this server belongs to: approve, deny, edit or respond.

        Only on that person's explicit word about this very request. `digest` and `version` are those that the person
        was shown: the answer is refused if the request has changed since. `message` is for the agent. `arguments`
        replace all arguments, for edit alone.
        """
        shown = {"id": approval_id, "digest": digest, "version": version}
        said = given(message=message, arguments=arguments)
        return _shown(await self._client.decide(shown, decision, **said))


def _shown(approval: dict[str, Any]) -> dict[str, Any]:
    names = ("status", "tool_name", "arguments", "permission", "resource", "risk", "reversibility", "question", "path")
    facts = ("allowed_decisions", "requested_by", "expires_at", "digest", "version", "decided_by", "decision")
    return {"approval_id": approval["id"], **{name: approval[name] for name in (*names, *facts)}}


def asking_server(client: AsyncClient, conversation: str, prompts: ClaudeApprovals | None = None) -> Any:
    """Return the server for agents. With `prompts` it answers the permission prompts of Claude Code, too."""
    server: Any = MCPServer("wardroom", instructions=INSTRUCTIONS, log_level="WARNING")
    tools = AskingTools(client, conversation)
    for call in (
        tools.request_approval,
        tools.wait_for_approval,
        tools.get_approval,
        tools.answer_question,
        tools.withdraw_approval,
        tools.consume_approval,
        tools.report_outcome,
    ):
        server.add_tool(told(call))
    if prompts is not None:
        approvals = prompts

        async def permission_prompt(tool_name: str, input: dict[str, Any], tool_use_id: str) -> str:
            """Answer a permission prompt of Claude Code. It waits until people have answered."""
            return json.dumps(await approvals.permission_prompt(tool_name, input, tool_use_id))

        server.add_tool(told(permission_prompt), structured_output=False)
    return server


def deciding_server(client: AsyncClient) -> Any:
    """Return the server for a person. It has no tool to ask, so no agent can answer its own request through it."""
    server: Any = MCPServer("wardroom-decide", log_level="WARNING")
    tools = DecidingTools(client)
    for call in (tools.list_pending_approvals, tools.get_approval, tools.decide_approval):
        server.add_tool(told(call))
    return server


async def serve_asker(
    url: str, key: str, conversation: str, *, prompts: Policy | None = None, timeout: float | None = None
) -> None:
    """Serve an agent over stdio until it leaves."""
    async with AsyncClient(url, key) as client:
        approvals = None
        if prompts is not None:
            approvals = ClaudeApprovals(client, conversation, policy=prompts, timeout=timeout)
        await asking_server(client, conversation, approvals).run_stdio_async()


async def serve_decider(url: str, key: str) -> None:
    """Serve a person over stdio until they leave."""
    async with AsyncClient(url, key) as client:
        await deciding_server(client).run_stdio_async()
