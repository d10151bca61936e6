"""OpenAPI descriptions of calls that are answered before Django and have no view."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from inflection import camelize
from starlette.routing import Route

from core.web.openapi import operation, refusals, values

A_UUID = {"type": "string", "format": "uuid"}
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Described:
    """One call: the body that is read, and its answer. `rules` are keywords that bind several fields of the body."""

    name: str
    tag: str
    callers: str
    body: type[msgspec.Struct]
    answer: values.Schema
    rules: Mapping[str, Any] = field(default_factory=dict)


def described(call: Described) -> Callable[[Endpoint], Endpoint]:
    """Attach its OpenAPI facts to an endpoint. The endpoint's docstring is the description."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.described = call  # type: ignore[attr-defined]
        return endpoint

    return mark


def add(result: dict[str, Any], routes: Iterable[Route]) -> None:
    """Add every described route to the document."""

    def register(kind: str, name: str, component: values.Schema) -> values.Schema:
        result["components"].setdefault(kind, {})[name] = component
        return operation.reference(kind, name)

    for route in routes:
        call = getattr(route.endpoint, "described", None)
        if call is None:
            continue
        name = camelize(call.name)
        body = register("schemas", f"{name}Body", _body(call))
        answer = register("schemas", f"{name}Answer", call.answer)
        facts = refusals.Call(name=name, in_path=True, has_body=True)
        described = {
            "operationId": call.name,
            "description": f"{route.endpoint.__doc__}\n\n{call.callers}",
            "parameters": [
                {"in": "path", "name": each, "schema": getattr(convertor, "schema", A_UUID), "required": True}
                for each, convertor in route.param_convertors.items()
            ],
            "tags": [call.tag],
            "requestBody": {"content": {"application/json": {"schema": body}}, "required": True},
            "security": [{"bearer": []}],
            "responses": {
                "200": {"content": {"application/json": {"schema": answer}}, "description": ""},
                **refusals.responses(facts, register),
            },
        }
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        result["paths"][path] = {"post": described}


def _body(call: Described) -> values.Schema:
    """Return the schema of a body. Null means absent, so an optional member may be null."""
    schema: dict[str, Any] = msgspec.json.schema(call.body)["$defs"][call.body.__name__]
    required = schema.get("required", ())
    for name, member in schema["properties"].items():
        member.pop("default", None)
        if member.get("type") == "string":
            member["pattern"] = values.NO_NUL
        if name not in required and "anyOf" not in member:
            schema["properties"][name] = values.nullable(member)
    schema.pop("title", None)
    # Members that a newer caller adds are read and ignored.
    return {**schema, **values.json_object(), "description": "", **call.rules}
