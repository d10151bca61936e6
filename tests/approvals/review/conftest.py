"""Reviewers on this host, and requests that wait for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from uuid import UUID

import pytest

from accounts.models import Project
from approvals.models import Approval, Review, Reviewer
from approvals.review import reviewers
from approvals.review.bodies import ReviewerBody
from core.web import request_body
from tests.approvals.conftest import Asked
from tests.approvals.rules.conftest import EDITOR, Ruled, ruled  # noqa: F401
from tests.ledger.webhooks.receiver import Receiver, receiving

Reviewing = Callable[..., Approval]


@pytest.fixture(autouse=True)
def private(settings: Any) -> None:
    """The reviewers of these tests are on this host."""
    settings.WEBHOOKS_PRIVATE = True


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def said(text: str | bytes, status: int = 200) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return an answer with this text."""
    body = text if isinstance(text, bytes) else text.encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def add(project: Project, name: str, **fields: Any) -> tuple[Reviewer, str | None]:
    return reviewers.create(project.pk, request_body.convert({"name": name, **fields}, ReviewerBody), EDITOR)


@pytest.fixture
def reviewing(project: Project, receiver: Receiver, ruled: Ruled, asked: Asked) -> Reviewing:  # noqa: F811
    """Ask for something that the reviewer at the receiver looks at. `rule` are fields of its rule, `review` of that."""

    def ask(*, rule: dict[str, Any] | None = None, review: dict[str, Any] | None = None, **words: Any) -> Approval:
        if not Reviewer.objects.filter(name="careful").exists():
            add(project, "careful", url=receiver.url)
            ruled(name="looked at", outcome="review", review={"reviewer": "careful", **(review or {})}, **(rule or {}))
        return asked(**words)

    return ask


def waiting(approval: Approval) -> UUID:
    """Return the id of the review that a request waits for."""
    return Review.objects.get(approval=approval).pk


def look(approval: Approval) -> dict[str, Any]:
    """Return the first review of a request, as it is now."""
    found: dict[str, Any] = Approval.objects.get(pk=approval.pk).reviews[0]
    return found
