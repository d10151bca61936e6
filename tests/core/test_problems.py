"""Every refusal has the same shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import Http404
from rest_framework import exceptions

from core.web import problems
from server.front.gate import Gate, Target
from wardroom.strict import StrictJSONError

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("error", "type", "status"),
    [
        (problems.not_found(), "not-found", 404),
        (problems.gone("Too late."), "expired", 410),
        (Http404(), "not-found", 404),
        (exceptions.NotAuthenticated(), "unauthenticated", 401),
        (exceptions.MethodNotAllowed("PUT"), "invalid", 405),
        (exceptions.Throttled(), "too-many", 429),
        (StrictJSONError("NaN is not JSON"), "invalid", 422),
    ],
)
def test_every_refusal_becomes_a_problem(error: Any, type: str, status: int) -> None:
    answer = problems.exception_handler(error, {})
    assert answer is not None
    assert (answer.status_code, answer.data["type"], answer.data["status"]) == (status, type, status)
    assert answer.content_type == "application/problem+json"
    assert answer.data["detail"]


def test_a_bug_is_not_dressed_up_as_a_refusal() -> None:
    assert problems.exception_handler(ZeroDivisionError(), {}) is None


def test_nested_field_errors_are_listed_with_their_path() -> None:
    error = exceptions.ValidationError({"body": {"question": ["is required"]}, "to": ["is too long", "is odd"]})
    problem = problems.as_problem(error)
    assert problem is not None
    assert problem.status == 422
    assert problem.extra["errors"] == [
        {"field": "body.question", "detail": "is required"},
        {"field": "to", "detail": "is too long"},
        {"field": "to", "detail": "is odd"},
    ]


async def run(app: Any) -> Any:
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await Gate(lambda scope: Target(app))({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    return sent


async def test_a_held_call_that_is_refused_answers_the_same_document() -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        raise problems.too_many("Too many.", 7)

    start, body = await run(refuse)
    assert start["status"] == 429
    assert (b"retry-after", b"7") in start["headers"]
    assert json.loads(body["body"])["type"] == "too-many"


def test_a_problem_in_one_line_says_nothing_twice() -> None:
    twice = problems.Problem("invalid", 422, "not JSON", errors=[{"field": "", "detail": "not JSON"}])
    assert str(twice) == "not JSON"
    more = problems.invalid([{"field": "a", "detail": "is missing"}, {"field": "", "detail": "is odd"}], "No.")
    assert str(more) == "No. a: is missing; is odd"


async def test_a_held_call_with_a_bug_answers_500_and_says_nothing_of_it() -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError("secret")

    start, body = await run(fail)
    assert start["status"] == 500
    assert b"secret" not in body["body"]


async def test_a_held_call_that_has_begun_to_answer_is_not_answered_twice() -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise problems.not_found()

    with pytest.raises(problems.Problem):
        await run(fail)
