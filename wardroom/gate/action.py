"""The action that a tool call asks for, and the policy that makes it from a call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: A fact that the action depends on: `{name, value_hash, shown}`.
Fact = dict[str, str]
Arguments = dict[str, Any]
Facts = Callable[[Arguments], list[Fact]]


@dataclass(frozen=True, slots=True)
class Action:
    """One request: these arguments of this tool, under an id that makes a repeated ask the same request.

    `facts` is called for the ask, and again right before the run. A difference stops the run.
    """

    tool_name: str
    arguments: Arguments
    permission: str
    resource: str
    request_id: str
    #: Further members of the request: question, risk, reversibility, expires_in_secs, tool_call_id, ...
    options: Mapping[str, Any] = field(default_factory=dict)
    facts: Facts | None = None

    @property
    def body(self) -> dict[str, Any]:
        """Return the request as `POST approvals` takes it."""
        own = {name: getattr(self, name) for name in ("tool_name", "arguments", "permission", "resource", "request_id")}
        facts = {} if self.facts is None else {"preconditions": self.facts(self.arguments)}
        return own | dict(self.options) | facts

    @property
    def for_child(self) -> tuple[str, Arguments, dict[str, Any]]:
        """Return the tool, the arguments and the options of `Child.approve`."""
        options = self.body
        tool, arguments = options.pop("tool_name"), options.pop("arguments")
        options["id"] = options.pop("request_id")
        if "expires_in_secs" in options:
            options["expires_in"] = options.pop("expires_in_secs")
        return tool, arguments, options


@dataclass(frozen=True, slots=True)
class Policy:
    """The permission and the resource of a tool's calls, and all else that an ask says beside its arguments.

    `resource` is a template over the arguments, as in `"{path}"`, or a function of them. Without it, the name of the
    tool is the resource. `options` as in `POST approvals`: risk, reversibility, question, expires_in_secs, ...
    """

    permission: str = "tool"
    resource: str | Callable[[Arguments], str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    facts: Facts | None = None

    def action(self, tool_name: str, arguments: Arguments, request_id: str, **options: Any) -> Action:
        """Return the action of a call. `options` of the call win over those of the policy."""
        return Action(
            tool_name,
            arguments,
            self.permission,
            self.resource_of(tool_name, arguments),
            request_id,
            {**self.options, **{name: value for name, value in options.items() if value is not None}},
            self.facts,
        )

    def resource_of(self, tool_name: str, arguments: Arguments) -> str:
        """Return the resource of a call."""
        if callable(self.resource):
            return self.resource(arguments)
        return tool_name if self.resource is None else self.resource.format_map(arguments)
