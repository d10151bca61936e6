"""`@require_approval`: a function runs only after an approval of exactly its arguments.

    @require_approval(client, permission="execute", resource="{host}", risk="high")
    def deploy(host: str, version: str) -> str:
        ...

The arguments come from the signature of the call. After an edit the function runs with the edited ones.
"""

import functools
import inspect
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from wardroom import strict
from wardroom.decision import Decision
from wardroom.gate.action import Action, Arguments, Facts, Policy
from wardroom.gate.async_gate import AsyncGate, async_gate
from wardroom.gate.gate import Gate, Told, plain_gate
from wardroom.gate.refusals import ApprovalUnusable, NotApproved

Function = TypeVar("Function", bound=Callable[..., Any])
Refused = Literal["raise", "return"]

#: Parameters of a method that are no arguments of the action.
_OWN = ("self", "cls")


class Signature:
    """The parameters of a function as the JSON arguments of an action, and back."""

    def __init__(self, function: Callable[..., Any], ignore: tuple[str, ...]) -> None:
        self._signature = inspect.signature(function)
        self._ignored = {*ignore, *_OWN}

    def split(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Arguments, Arguments]:
        """Return the arguments of the action, and those that are passed on without approval (`ignore`).

        Raises TypeError for a call that does not fit, and for a value that is no JSON.
        """
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        shown = {name: value for name, value in bound.arguments.items() if name not in self._ignored}
        for name, value in shown.items():
            if isinstance(value, tuple):
                shown[name] = value = list(value)
            try:
                strict.check(value)
            except ValueError as error:
                raise TypeError(f"the argument {name!r} is no JSON ({error}): name it in `ignore`") from error
        return shown, {name: value for name, value in bound.arguments.items() if name in self._ignored}

    def bound(self, arguments: Arguments, passed_on: Arguments, decision: Decision) -> inspect.BoundArguments:
        """Return the call to make. Raises ApprovalUnusable when edited arguments do not fit the function."""
        try:
            if unknown := set(arguments) - set(self._signature.parameters):
                raise TypeError(f"unexpected arguments {', '.join(sorted(unknown))}")
            found = inspect.BoundArguments(self._signature, OrderedDict({**arguments, **passed_on}))
            found.apply_defaults()
            return self._signature.bind(*found.args, **found.kwargs)
        except (TypeError, ValueError) as error:
            text = f"It was approved with other arguments, and they do not fit: {error}. It did not run."
            raise ApprovalUnusable(text, decision, "invalid-edit") from error


def require_approval(
    client: Any,
    *,
    permission: str = "tool",
    resource: str | Callable[[Arguments], str] | None = None,
    tool_name: str | None = None,
    timeout: float | None = None,
    refused: Refused = "raise",
    ignore: tuple[str, ...] = (),
    request_id: Callable[[Arguments], str] | None = None,
    facts: Facts | None = None,
    on_asked: Told | None = None,
    **options: Any,
) -> Callable[[Function], Function]:
    """Return a decorator. The function runs after an approval of its arguments, consumed right before it runs.

    `client` is a `Client` or a `Child` of `wardroom.sync` for a plain function, and an `AsyncClient` or a `Child` for a
    coroutine function; or a function that returns one. A call without an approval raises NotApproved, with a text for
    the model; with `refused="return"` it returns that text. `timeout` bounds the wait; then ApprovalPending is raised,
    and the request stays open.

    Each call is a request of its own. `request_id` names a call by its arguments instead, so that a restarted program
    waits for the same request. `ignore` names parameters that are no part of the action. `facts` returns the
    preconditions. `options` as in `POST approvals`: risk, reversibility, question, expires_in_secs, session, ...
    """
    policy = Policy(permission, resource, options, facts)

    def decorate(function: Function) -> Function:
        name = tool_name or function.__name__
        gated = _Gated(
            function, name, client, policy, Signature(function, ignore), timeout, refused, request_id, on_asked
        )
        call = gated.coroutine if inspect.iscoroutinefunction(function) else gated.plain
        return call()  # type: ignore[return-value]

    return decorate


@dataclass(frozen=True)
class _Gated:
    function: Callable[..., Any]
    name: str
    client: Any
    policy: Policy
    signature: Signature
    timeout: float | None
    refused: Refused
    request_id: Callable[[Arguments], str] | None
    on_asked: Told | None

    def plain(self) -> Callable[..., Any]:
        @functools.wraps(self.function)
        def call(*args: Any, **kwargs: Any) -> Any:
            gate = plain_gate(client := self._client(), timeout=self.timeout, on_asked=self.on_asked)
            if gate is None:
                raise self._wrong(client, "a Client or a Child of wardroom.sync")
            arguments, passed_on = self.signature.split(args, kwargs)
            claim = secrets.token_urlsafe(24)
            try:
                action = self._action(gate, arguments)
                decision = gate.decision(action)
                self.signature.bound(decision.arguments, passed_on, decision)
                runs = self.signature.bound(gate.consume(action, decision, claim), passed_on, decision)
            except NotApproved as refusal:
                return self._refuse(refusal)
            with gate.reporting(action, decision, claim):
                return self.function(*runs.args, **runs.kwargs)

        return call

    def coroutine(self) -> Callable[..., Any]:
        @functools.wraps(self.function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            if plain_gate(client := self._client()) is not None:
                raise self._wrong(client, "an AsyncClient or a Child")
            gate = async_gate(client, timeout=self.timeout, on_asked=self.on_asked)
            arguments, passed_on = self.signature.split(args, kwargs)
            claim = secrets.token_urlsafe(24)
            try:
                action = self._action(gate, arguments)
                decision = await gate.decision(action)
                self.signature.bound(decision.arguments, passed_on, decision)
                runs = self.signature.bound(await gate.consume(action, decision, claim), passed_on, decision)
            except NotApproved as refusal:
                return self._refuse(refusal)
            async with gate.reporting(action, decision, claim):
                return await self.function(*runs.args, **runs.kwargs)

        return call

    def _client(self) -> Any:
        return self.client() if callable(self.client) else self.client

    def _wrong(self, client: object, right: str) -> TypeError:
        return TypeError(f"{self.name} needs {right}, not {type(client).__name__}")

    def _action(self, gate: Gate | AsyncGate, arguments: Arguments) -> Action:
        if self.request_id is None:
            return self.policy.action(self.name, arguments, secrets.token_urlsafe(24))
        id = gate.request_id(f"{self.name}:{self.request_id(arguments)}")
        return self.policy.action(self.name, arguments, id)

    def _refuse(self, refusal: NotApproved) -> str:
        if self.refused == "return":
            return str(refusal)
        raise refusal
