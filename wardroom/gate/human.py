"""`human_as_tool`: a function that asks people a question and returns their answer."""

import secrets
from collections.abc import Callable
from typing import Any

from wardroom.decision import Decision
from wardroom.gate.action import Policy
from wardroom.gate.async_gate import async_gate
from wardroom.gate.gate import Told, plain_gate
from wardroom.gate.refusals import NotApproved, refusal_of


def human_as_tool(
    client: Any,
    *,
    tool_name: str = "ask_human",
    permission: str = "ask",
    resource: str = "human",
    form: dict[str, Any] | None = None,
    timeout: float | None = None,
    on_asked: Told | None = None,
    **options: Any,
) -> Callable[..., Any]:
    """Return a function `ask_human(question)` for an agent. It returns the words of a person.

    With a `Client` or a `Child` of `wardroom.sync` it is a plain function; with an `AsyncClient` or a `Child` it is a
    coroutine function. Without an answer it raises NotApproved, as `require_approval` does. Nothing runs by the answer,
    and it approves nothing. A question that is no text or empty is a TypeError or a ValueError, and asks nobody. With a
    `form`, a JSON Schema of a flat object, it returns the fields of the form instead of words. `options` as in `POST
    approvals`.
    """
    schema = {} if form is None else {"response_schema": form}
    policy = Policy(permission, resource, {"allowed_decisions": ["respond", "deny"], **schema, **options})

    def ask_human(question: str) -> str | dict[str, Any]:
        """Ask a person a question, and wait for the answer."""
        gate = plain_gate(client, timeout=timeout, on_asked=on_asked)
        assert gate is not None  # noqa: S101 - else this is not the function that was returned.
        action = policy.action(tool_name, {}, secrets.token_urlsafe(24), question=asked(question))
        return answered(gate.answer(action))

    async def ask_human_async(question: str) -> str | dict[str, Any]:
        """Ask a person a question, and wait for the answer."""
        gate = async_gate(client, timeout=timeout, on_asked=on_asked)
        action = policy.action(tool_name, {}, secrets.token_urlsafe(24), question=asked(question))
        return answered(await gate.answer(action))

    tool: Callable[..., Any] = ask_human_async if plain_gate(client) is None else ask_human
    tool.__name__ = tool.__qualname__ = tool_name
    return tool


def asked(question: object) -> str:
    """Return a question that a person can read. Raises TypeError and ValueError: nobody can answer an empty page."""
    if not isinstance(question, str):
        raise TypeError(f"the question is {type(question).__name__}, not a text")
    if not question.strip():
        raise ValueError("the question is empty")
    return question


def answered(decision: Decision) -> str | dict[str, Any]:
    """Return the answer of a person: the fields of a form, or words. Raises NotApproved when there is none."""
    if decision.state == "approved" and decision.response is not None:
        return decision.response
    if decision.state == "approved" and decision.message is not None:
        return decision.message
    raise refusal_of(decision) or NotApproved("The request has no answer in words.", decision)
