"""A token is checked before its transaction: an attempt that ends in between ends the act too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from accounts import bulk_authentication, credentials
from accounts.actors import Actor
from approvals import consumption, decisions
from approvals.decision_validation import Answer
from approvals.models import Approval
from ledger import unit_of_work
from mailbox.models import Message
from orchestration.models import Session
from orchestration.sessions import lifecycle, spawn, transitions
from orchestration.states import Status
from tests import before_django
from tests.orchestration import stages
from tests.orchestration.conftest import bearer
from tests.orchestration.sessions.test_races import race
from tests.people import owner

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(60)]

API = "/api/v1/sessions"
Act = Callable[[APIClient, Session, Session], Any]
ACTS: dict[str, Act] = {
    "spawn": lambda client, mine, below: client.post(API, {"runner": "external"}, format="json"),
    "cancel": lambda client, mine, below: client.post(f"{API}/{below.pk}/cancel", {}, format="json"),
    "retry": lambda client, mine, below: client.post(f"{API}/{below.pk}/retry", {}, format="json"),
    "wait": lambda client, mine, below: client.post(f"{API}/{mine.pk}/wait", {"wait_for": "any"}, format="json"),
    "message": lambda client, mine, below: client.post(
        f"{API}/{below.pk}/messages", {"message_kind": "task", "body": "more"}, format="json"
    ),
    "ask": lambda client, mine, below: asked(client, f"{API}/{below.pk}/ask"),
}


def asked(client: APIClient, path: str) -> Any:
    """The answer of a route that Django does not know, to the token of this client."""
    token = client._credentials["HTTP_AUTHORIZATION"]  # type: ignore[attr-defined]
    headers = {"Authorization": token, "Content-Type": "application/json"}
    return before_django.call("POST", path, b'{"question": "?"}', headers, {})


ENDS: dict[str, Callable[[UUID], Any]] = {
    "suspended": lambda pk: lifecycle.suspend(pk, 1),
    "ended": lambda pk: lifecycle.finish(pk, 1, Status.COMPLETED),
    "replaced": lambda pk: transitions.requeue(pk, 1, "connection lost"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("act", ACTS)
def test_an_attempt_that_ends_after_its_token_was_checked_does_nothing_more(
    monkeypatch: pytest.MonkeyPatch, act: str, end: str
) -> None:
    mine = stages.running()
    # Something below it that is over, and something that is not: a suspended one goes on waiting.
    below = stages.ended(parent=mine.pk) if act == "retry" else stages.queued(parent=mine.pk)
    client = bearer(spawn.mint(stages.again(mine)))
    locked, checked = threading.Event(), threading.Event()
    check = bulk_authentication.check_all

    def seen(*args: Any, **options: Any) -> Any:
        assert locked.wait(30)
        found = check(*args, **options)
        checked.set()
        return found

    def finish() -> int:
        with unit_of_work.transaction():
            transitions.lock(mine.pk)
            Session.objects.filter(pk=mine.pk).update(title="locked, on both databases")
            locked.set()
            assert checked.wait(30)
            ENDS[end](mine.pk)
        return 200

    monkeypatch.setattr(bulk_authentication, "check_all", seen)
    before = Session.objects.count()
    _, answer = race(finish, lambda: ACTS[act](client, mine, below))
    assert (answer.status_code, answer.json()["type"]) == (409, "not-running")
    assert Session.objects.count() == before
    assert not Message.objects.filter(message_kind__in=["task", "ask"]).exists()
    row = stages.again(below)
    assert (row.cancel_requested_at, row.attempt) == (None, 1)


def test_the_same_claim_is_told_again_only_while_the_attempt_runs() -> None:
    session = stages.running()
    asked = stages.asked(session)
    answer = Answer(decision="approve", digest=asked.digest)
    decisions.decide(session.project_id, asked.id, answer, Actor.of_user(owner()), "admin")
    client = bearer(spawn.mint(session))
    path, body = f"/api/v1/approvals/{asked.id}/consume", {"digest": asked.digest, "claim": "mine"}
    assert client.post(path, body, format="json").status_code == 200
    assert client.post(path, body, format="json").status_code == 200
    key = credentials.mint(kind="api", project=session.project, user=owner(), scopes=["admin"])[1]
    lifecycle.suspend(session.pk, 1)
    assert client.post(path, body, format="json").status_code == 401
    late = bearer(key).post(path, body, format="json")
    assert (late.status_code, late.json()["type"]) == (409, "not-running")
    consumed = Approval.objects.get()
    assert consumed.consume_claim == "mine"
    with pytest.raises(Exception, match="running"):
        consumption.consume_request(session.pk, 1, asked.request_id, digest=asked.digest, claim="mine")
