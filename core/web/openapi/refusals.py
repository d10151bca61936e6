"""The refusals of a call: one problem schema for each status, with the problem types of the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from core.web.problems import CONTENT_TYPE

#: Status -> problem types of one call.
Types = Mapping[int, Sequence[str]]
#: Stores a component (`schemas` or `responses`, its name, its content) and returns its `$ref`.
Register = Callable[[str, str, dict[str, Any]], dict[str, Any]]

#: The problem types that every call has at a status.
COMMON: Types = {
    401: ("unauthenticated",),
    403: ("forbidden",),
    404: ("not-found",),
    406: ("invalid",),
    408: ("too-slow",),
    409: ("conflict",),
    410: ("expired",),
    413: ("too-large",),
    415: ("invalid", "unsupported-encoding"),
    422: ("invalid",),
    429: ("too-many",),
    503: ("busy", "unavailable"),
}
WHY = {
    401: "No live token came with the call.",
    403: "The caller is known, and may not do this.",
    404: "There is nothing by that id in the caller's project.",
    406: "The answer is JSON, and the caller accepts none.",
    408: "The body did not arrive in time.",
    409: "The call conflicts with the current state.",
    410: "It existed, and has ended.",
    413: "The body is over the limit.",
    415: "The body is not JSON, or it is encoded.",
    422: "`errors` names each field or parameter that is wrong.",
    429: "There are too many; try again after `Retry-After` seconds.",
    503: "The server is temporarily unable to do this; try again after `Retry-After` seconds.",
}
RETRY_AFTER = {
    "description": "Seconds to wait before the next try.",
    "required": True,
    "schema": {"type": "integer", "minimum": 0},
}
HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string", "enum": ["Bearer"]}}},
    429: {"Retry-After": RETRY_AFTER},
    503: {"Retry-After": RETRY_AFTER},
}
#: Statuses that a call can answer because it has a body.
OF_A_BODY = (408, 413, 415)


@dataclass(frozen=True, slots=True)
class Call:
    """The facts that decide the refusals of a call. `own` adds types to the common ones, or further statuses."""

    name: str
    authenticated: bool = True
    in_path: bool = False
    has_body: bool = False
    keyed: bool = False
    own: Types = field(default_factory=dict)

    def types(self) -> dict[int, tuple[str, ...]]:
        """Return status -> every problem type that this call answers there, in the order of statuses."""
        statuses = {406, 422, 429, 503, *self.own}
        statuses |= {401, 403} if self.authenticated else set()
        statuses |= {404} if self.in_path else set()
        statuses |= set(OF_A_BODY) if self.has_body else set()
        statuses |= {409} if self.keyed else set()
        found = {}
        for status in sorted(statuses):
            # A 409 or a 410 always has types of its own.
            common = () if status in (409, 410) else COMMON.get(status, ())
            keyed = ("still-running",) if self.keyed and status == 409 else ()
            found[status] = tuple(dict.fromkeys([*common, *self.own.get(status, ()), *keyed]))
        return found


def responses(call: Call, register: Register) -> dict[str, Any]:
    """Return the `responses` entries of every refusal of a call. Shared entries are components."""
    found = {}
    for status, types in call.types().items():
        shared = types == COMMON.get(status)
        name = f"Problem{status}" if shared else f"{call.name}Problem{status}"
        why, listed = WHY.get(status, HTTPStatus(status).phrase), ", ".join(f"`{word}`" for word in types)
        answer = {
            "description": f"{why} Type: {listed}.",
            "content": {CONTENT_TYPE: {"schema": register("schemas", name, problem(status, types))}},
        }
        if status in HEADERS:
            answer["headers"] = HEADERS[status]
        found[str(status)] = register("responses", name, answer) if shared else answer
    return found


def problem(status: int, types: Sequence[str]) -> dict[str, Any]:
    """Return the schema of a problem document. Further members belong to the type."""
    properties: dict[str, Any] = {
        "type": {"type": "string", "enum": list(types)},
        "title": {"type": "string"},
        "status": {"type": "integer", "enum": [status]},
        "detail": {"type": "string", "description": "A description of the error, for people."},
    }
    if status == 422:
        members = {"field": {"type": "string"}, "detail": {"type": "string"}}
        error = {"type": "object", "properties": members, "required": list(members)}
        properties["errors"] = {"type": "array", "items": error}
    required = [name for name in properties if name != "errors"]
    return {"type": "object", "properties": properties, "required": required}
