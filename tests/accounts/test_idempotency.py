"""A call with an `Idempotency-Key`: the order of its locks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.test import RequestFactory
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import credentials, idempotency, projects
from accounts.models import IdempotencyKey
from ledger import unit_of_work
from ledger.models import Event
from ledger.store import entries
from tests.people import owner


@pytest.mark.django_db(transaction=True)
def test_the_answer_is_stored_before_the_ledger_head_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every transaction of the project waits for the head."""
    project, stored = projects.default(), []
    credential, _ = credentials.mint(kind="api", project=project, user=owner())
    write = entries.write

    def noted(new: Any, *, commit: bool) -> None:
        if new:
            stored.append(IdempotencyKey.objects.get().status)
        write(new, commit=commit)

    @idempotency.idempotent(still=lambda *_args: None)
    def handler(view: Any, request: Any) -> Response:
        with unit_of_work.transaction():
            unit_of_work.event(project.pk, "made")
        return Response({}, status=201)

    monkeypatch.setattr(entries, "write", noted)
    sent = RequestFactory().post("/", {}, "application/json", headers={"Idempotency-Key": "once"})
    view: Any = SimpleNamespace(credential=credential, kwargs={})
    handler(view, Request(sent, parsers=[JSONParser()]))
    assert stored == [201]
    assert Event.objects.filter(type="made").count() == 1
