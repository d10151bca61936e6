"""DRF views in the OpenAPI document: what a view, its method and its path say of security, refusals and headers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from inflection import camelize

from accounts.openapi import refusals, values

IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "description": "The same key and body get the same answer for a day. The key with another body is a 422.",
}
REPLAYED = {
    "description": "Sent where the answer is that of an earlier call with the same `Idempotency-Key`.",
    "schema": {"type": "string", "enum": ["true"]},
}
EVENT_STREAM = "text/event-stream"
LAST_EVENT_ID = {
    "in": "header",
    "name": "Last-Event-ID",
    "schema": {"type": "string"},
    "description": "Of a stream: the `id` of the last event that arrived. It goes before `after`.",
}


class Operation(AutoSchema):
    """What is the same for every call is said here once; a view names what is its own (see `ProjectView`)."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """The operation, with every status that it can answer."""
        operation = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        if callers := self._callers():
            operation["description"] += f"\n\n{callers}"
        call = self._call(operation)
        if call.keyed:
            self._honour_key(operation)
        if self.method in getattr(self.view, "streams", ()):
            self._stream(operation)
        operation["responses"] |= refusals.responses(call, self._register)
        return dict(operation)

    def get_auth(self) -> list[dict[str, Any]]:
        """The bearer token, with the scope that an API key needs."""
        super().get_auth()  # Registers the scheme.
        if not self.view.get_authenticators():
            return []
        scope = getattr(self.view, "scopes", {}).get(self.method)
        return [{"bearer": [scope] if scope else []}]

    def _callers(self) -> str:
        scope = getattr(self.view, "scopes", {}).get(self.method)
        said = [f"An API key needs the scope `{scope}`."] if scope else []
        if self.method in getattr(self.view, "child_may", ()):
            said.append("A child's token may call it.")
        return " ".join(said)

    def _call(self, operation: dict[str, Any]) -> refusals.Call:
        handler = getattr(self.view, self.method.lower())
        return refusals.Call(
            name=camelize(operation["operationId"]),
            authenticated=bool(operation.get("security")),
            in_path=any(parameter["in"] == "path" for parameter in operation.get("parameters", [])),
            has_body=self.method not in ("GET", "HEAD"),
            keyed=getattr(handler, "honours_key", False),
            own=getattr(self.view, "refuses", {}).get(self.method, {}),
        )

    def _honour_key(self, operation: dict[str, Any]) -> None:
        operation["parameters"] = [IDEMPOTENCY_KEY, *operation.get("parameters", [])]
        for answer in operation["responses"].values():
            answer.setdefault("headers", {})["Idempotency-Replayed"] = REPLAYED

    def _stream(self, operation: dict[str, Any]) -> None:
        operation["parameters"] = [LAST_EVENT_ID, *operation.get("parameters", [])]
        operation["responses"]["200"]["content"][EVENT_STREAM] = {"schema": {"type": "string"}}

    def _register(self, kind: str, name: str, component: dict[str, Any]) -> dict[str, Any]:
        return register(self.registry, kind, name, component)


def register(registry: Any, kind: str, name: str, component: dict[str, Any]) -> dict[str, Any]:
    """Keep a component for `add_components`, and give its `$ref`."""
    vars(registry).setdefault("ours", {}).setdefault(kind, {})[name] = component
    return {"$ref": f"#/components/{kind}/{name}"}


def add_components(result: Any, generator: Any, **_: Any) -> Any:
    """Add our components, after the hook that would give each of their enums a component too."""
    ours = getattr(generator.registry, "ours", {})
    for kind, components in {"schemas": {}, **ours}.items():
        more = components | values.COMPONENTS if kind == "schemas" else components
        result["components"][kind] = dict(sorted({**result["components"].get(kind, {}), **more}.items()))
    return result
