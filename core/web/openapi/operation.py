"""DRF views in the OpenAPI document: security, refusals and headers from a view, its method and its path."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec
from drf_spectacular.openapi import AutoSchema
from inflection import camelize

from core.web.idempotency_key import LONGEST_KEY, PATTERN
from core.web.openapi import refusals, structs, values

IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": PATTERN},
    "description": "The same key and body get the same answer for a day. The key with another body is a 422.",
}
REPLAYED = {
    "description": "Sent when the answer is that of an earlier call with the same `Idempotency-Key`.",
    "schema": {"type": "string", "enum": ["true"]},
}
EVENT_STREAM = "text/event-stream"
LAST_EVENT_ID = {
    "in": "header",
    "name": "Last-Event-ID",
    "schema": {"type": "string"},
    "description": "For a stream: the `id` of the last received event. It takes precedence over `after`.",
}


class Operation(AutoSchema):
    """Describes the parts that are equal for every call. A view declares its own parts (see `ProjectView`)."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Return the operation with every status that it can answer."""
        operation = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        callers = needs(getattr(self.view, "scopes", {}).get(self.method))
        if self.method in getattr(self.view, "child_may", ()):
            callers = f"{callers} A child's token may call it.".lstrip()
        if callers:
            operation["description"] += f"\n\n{callers}"
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                parameter["schema"] = dict(
                    getattr(self.view, "in_path", {}).get(parameter["name"], parameter["schema"])
                )
        call = refusals.Call(
            name=camelize(operation["operationId"]),
            authenticated=bool(operation.get("security")),
            in_path=any(parameter["in"] == "path" for parameter in operation.get("parameters", [])),
            has_body=self.method not in ("GET", "HEAD"),
            keyed=getattr(getattr(self.view, self.method.lower()), "honours_key", False),
            own=getattr(self.view, "refuses", {}).get(self.method, {}),
        )
        if self.method in getattr(self.view, "streams", ()):
            operation["parameters"] = [LAST_EVENT_ID, *operation.get("parameters", [])]
            operation["responses"]["200"]["content"][EVENT_STREAM] = {"schema": {"type": "string"}}
        for media in getattr(self.view, "exports", {}).get(self.method, ()):
            operation["responses"]["200"]["content"][media] = {"schema": {"type": "string"}}
        depends = getattr(self.view, "depends", {}).get(self.method, ())
        return completed(operation, call, functools.partial(register, self.registry), depends)

    def _get_request_for_media_type(self, serializer: Any, *args: Any, **kwargs: Any) -> Any:
        """Describe a body by its Struct, or by the Structs of which it is one."""
        if not (isinstance(serializer, tuple) or _is_struct(serializer)):
            return super()._get_request_for_media_type(serializer, *args, **kwargs)  # type: ignore[no-untyped-call]
        schema = structs.reference(serializer, functools.partial(register, self.registry), asked=True)
        return schema, structs.is_required(serializer)

    def _get_response_for_code(self, serializer: Any, *args: Any, **kwargs: Any) -> Any:
        """Describe an answer by its Struct."""
        if _is_struct(serializer):
            serializer = structs.reference(serializer, functools.partial(register, self.registry), asked=False)
        return super()._get_response_for_code(serializer, *args, **kwargs)  # type: ignore[no-untyped-call]

    def get_auth(self) -> list[dict[str, Any]]:
        """Return the bearer scheme with the scope that an API key needs."""
        super().get_auth()  # Registers the scheme.
        if not self.view.get_authenticators():
            return []
        scope = getattr(self.view, "scopes", {}).get(self.method)
        return [{"bearer": [scope] if scope else []}]


def needs(scope: str | None) -> str:
    """Return the sentence about the scope of an API key."""
    return f"An API key needs the scope `{scope}`." if scope else ""


def completed(
    operation: dict[str, Any], call: refusals.Call, register: refusals.Register, depends: Sequence[str] = ()
) -> dict[str, Any]:
    """Add the refusals of a call, its key, and the parameters that the current state may refuse."""
    parameters = operation.get("parameters", [])
    # Only the server makes cursors; a client cannot invent one.
    depends = [*(each["name"] for each in parameters if each["name"] == "cursor"), *depends]
    if call.keyed:
        depends = ["Idempotency-Key", *depends]
        operation["parameters"] = [IDEMPOTENCY_KEY, *parameters]
        for answer in operation["responses"].values():
            answer.setdefault("headers", {})["Idempotency-Replayed"] = REPLAYED
    operation["responses"] |= refusals.responses(call, register)
    if depends:
        operation["x-depends-on-state"] = depends
    return dict(operation)


def _is_struct(described: Any) -> bool:
    return isinstance(described, type) and issubclass(described, msgspec.Struct)


def register(registry: Any, kind: str, name: str, component: dict[str, Any]) -> dict[str, Any]:
    """Store a component for `add_components`, and return its `$ref`."""
    vars(registry).setdefault("ours", {}).setdefault(kind, {})[name] = component
    return reference(kind, name)


def reference(kind: str, name: str) -> dict[str, Any]:
    """Return the `$ref` of a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def add_components(result: Any, generator: Any, **_: Any) -> Any:
    """Add the components that our schemas refer to."""
    ours = getattr(generator.registry, "ours", {})
    for kind, components in {"schemas": {}, **ours}.items():
        more = components | values.COMPONENTS if kind == "schemas" else components
        result["components"][kind] = dict(sorted({**result["components"].get(kind, {}), **more}.items()))
    return result
