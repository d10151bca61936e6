"""OpenAPI descriptions of calls that are answered before Django and have no view."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from drf_spectacular.utils import OpenApiParameter
from inflection import camelize
from starlette.routing import Route

from core.web.openapi import operation, refusals, structs
from core.web.openapi.values import Schema

A_UUID = {"type": "string", "format": "uuid"}
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One call: its body, the answer of each status, and what a view declares. See `ProjectView`."""

    name: str
    tag: str
    answers: Mapping[int, type[msgspec.Struct]]
    method: str = "POST"
    body: structs.Described | tuple[structs.Described, ...] | None = None
    #: The scope that an API key needs, if one is always needed. `callers` says further who may call.
    scope: str | None = None
    callers: str = ""
    query: Sequence[OpenApiParameter] = ()
    in_path: Mapping[str, Schema] = field(default_factory=dict)
    refuses: refusals.Types = field(default_factory=dict)
    keyed: bool = False


def described(call: Described) -> Callable[[Endpoint], Endpoint]:
    """Attach its OpenAPI facts to an endpoint. The endpoint's docstring is the description."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.described = call  # type: ignore[attr-defined]
        return endpoint

    return mark


def add(result: dict[str, Any], routes: Iterable[Route]) -> None:
    """Add every described route to the document."""

    def register(kind: str, name: str, component: Schema) -> Schema:
        result["components"].setdefault(kind, {})[name] = component
        return operation.reference(kind, name)

    for route in routes:
        call = getattr(route.endpoint, "described", None)
        if call is not None:
            path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
            methods = {**result["paths"].get(path, {}), call.method.lower(): _operation(route, call, register)}
            result["paths"][path] = dict(sorted(methods.items()))
    result["paths"] = dict(sorted(result["paths"].items()))


def _operation(route: Route, call: Described, register: refusals.Register) -> dict[str, Any]:
    in_path = [
        {
            "in": "path",
            "name": each,
            "schema": call.in_path.get(each) or getattr(convertor, "schema", A_UUID),
            "required": True,
        }
        for each, convertor in route.param_convertors.items()
    ]
    callers = " ".join(filter(None, (operation.needs(call.scope), call.callers)))
    query = [
        {"in": each.location, "name": each.name, "schema": each.type}
        | ({"description": each.description} if each.description else {})
        for each in call.query
    ]
    made: dict[str, Any] = {
        "operationId": call.name,
        "description": "\n\n".join(filter(None, (inspect.getdoc(route.endpoint), callers))),
        "parameters": [*in_path, *query],
        "tags": [call.tag],
    }
    if call.body is not None:
        body = structs.reference(call.body, register, asked=True)
        made["requestBody"] = {"content": {"application/json": {"schema": body}}, "required": True}
    made["security"] = [{"bearer": [call.scope] if call.scope else []}]
    made["responses"] = {
        str(status): {
            "content": {"application/json": {"schema": structs.reference(answer, register, asked=False)}},
            "description": "",
        }
        for status, answer in call.answers.items()
    }
    facts = refusals.Call(
        name=camelize(call.name), in_path=True, has_body=call.method == "POST", keyed=call.keyed, own=call.refuses
    )
    return operation.completed(made, facts, register)
