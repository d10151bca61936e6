"""docs/openapi.yaml as a test reads it, and a watch over every answer that the tests get."""

from __future__ import annotations

import functools
import re
from typing import Any, Self

import yaml

from tests.house.sources import ROOT

PATH = ROOT / "docs" / "openapi.yaml"
PROBLEM = "application/problem+json"


class Document:
    """The document, with its operations by name and by method and path."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.components = said["components"]
        self.schemas = self.components["schemas"]
        self.operations = {
            operation["operationId"]: operation for path in said["paths"].values() for operation in path.values()
        }
        self._paths = [(_pattern(path), path) for path in sorted(said["paths"], key=lambda path: path.count("{"))]

    @classmethod
    def read(cls) -> Self:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return cls(yaml.load(PATH.read_text(), loader))

    def path(self, name: str) -> str:
        """The address of an operation."""
        named = ((path, each["operationId"]) for path, item in self.said["paths"].items() for each in item.values())
        return next(path for path, operation in named if operation == name)

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """The operation behind a request, or None for an address or a method that the document does not name."""
        template = next((template for pattern, template in self._paths if pattern.fullmatch(path)), None)
        return self.said["paths"][template].get(method.lower()) if template else None

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the schema behind a `$ref`."""
        while "$ref" in schema:
            _, _, kind, name = schema["$ref"].split("/")
            schema = self.components[kind][name]
        return schema

    def untrue(self, method: str, path: str, status: int, headers: Any, body: Any) -> str | None:
        """Return the undocumented parts of an answer: status, media type, missing header, problem type."""
        operation = self.operation(method, path)
        if operation is None or status == 405:
            return None
        if str(status) not in operation["responses"]:
            return f"{status} is none of {', '.join(operation['responses'])}"
        response = self.resolved(operation["responses"][str(status)])
        media_type = headers.get("Content-Type", "").split(";")[0]
        if media_type not in response.get("content", {}) and status not in (204, 304):
            return f"{media_type} is none of {', '.join(response.get('content', {}))}"
        for name, header in response.get("headers", {}).items():
            if header.get("required") and name not in headers:
                return f"without {name}"
        return self._untrue_problem(response, body) if media_type == PROBLEM else None

    def _untrue_problem(self, response: dict[str, Any], body: Any) -> str | None:
        properties = self.resolved(response["content"][PROBLEM]["schema"])["properties"]
        kind, known = body()["type"], properties["type"]["enum"]
        return None if kind in known else f"the problem {kind} is none of {', '.join(known)}"


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))


def watch() -> None:
    """From now on every answer to a test's HTTP client is held to the document; one that is not in it fails its test.

    Each test that provokes a refusal proves so that the refusal is in the document, without a word of its own.
    """
    import httpx
    from django.test import Client

    document = Document.read()

    def look(method: str, path: str, answer: Any, status: int, body: Any) -> None:
        wrong = document.untrue(method, path, status, answer.headers, body)
        assert wrong is None, f"docs/openapi.yaml does not say so of {method} {path}: {wrong}"

    in_process, over_http = Client.request, httpx.Client.send

    @functools.wraps(in_process)
    def request(self: Client, **sent: Any) -> Any:
        answer = in_process(self, **sent)
        look(sent.get("REQUEST_METHOD", "GET"), sent["PATH_INFO"], answer, answer.status_code, answer.json)
        return answer

    @functools.wraps(over_http)
    def send(self: httpx.Client, request: httpx.Request, **options: Any) -> Any:
        answer = over_http(self, request, **options)
        body = (lambda: answer.read() and answer.json()) if answer.status_code >= 400 else None
        look(request.method, request.url.path, answer, answer.status_code, body)
        return answer

    Client.request, httpx.Client.send = request, send  # type: ignore[method-assign]
