"""The body and the answer of a call are freed when the call ends. The garbage collector may run much later."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import resolve
from rest_framework.test import APIRequestFactory

from accounts import credentials, projects
from core.web import fast_path
from server.front.gate import Gate, Target
from tests.people import owner


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "body", "status"), [("sessions", {}, 422), ("approvals?limit=1", None, 200)])
def test_no_cycle_keeps_a_request_or_its_answer(without_collector: None, path: str, body: Any, status: int) -> None:
    scopes = ["approvals:read", "sessions:write"]
    _, token = credentials.mint(kind="api", user=owner(), project=projects.default(), scopes=scopes)
    method = "get" if body is None else "post"
    more = {} if body is None else {"format": "json"}
    make = getattr(APIRequestFactory(), method)
    request = make(f"/api/v1/{path}", body, HTTP_AUTHORIZATION=f"Bearer {token}", **more)
    found = resolve(f"/api/v1/{path.partition('?')[0]}")
    response = found.func(request, *found.args, **found.kwargs)
    response.render()
    assert response.status_code == status
    kept = [weakref.ref(response), weakref.ref(request)]
    del request, response
    assert [each() for each in kept] == [None, None]


async def test_the_gate_leaves_no_body_in_the_scope_of_the_request() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen["scope"], seen["body"] = scope, scope[fast_path.BODY]
        await fast_path.answer(send, 200, {})

    body = json.dumps({"a": "b"}).encode()
    token = f"wr_key_{'a' * 16}_{'b' * 43}"
    headers = [(b"content-length", str(len(body)).encode()), (b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/api/v1/x", "headers": headers}

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        pass

    await Gate(lambda scope: Target(app))(scope, receive, send)
    assert seen["body"] == body
    assert fast_path.BODY not in seen["scope"]
