"""A replay of an `Idempotency-Key` returns the first answer, and never more than its caller could get now."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db.models import F

from accounts import credentials, projects, scopes
from accounts.actors import Actor
from accounts.models import Credential, Project, User
from approvals import attempt_clock, decisions
from approvals.models import Approval
from orchestration.models import Session
from orchestration.sessions import spawn, transitions
from orchestration.sessions.spawn import SpawnOrder
from orchestration.states import Status
from tests.mailbox.faces import Caller, Django
from tests.people import owner

pytestmark = pytest.mark.django_db

ACTION = {"request_id": "r", "tool_name": "shell", "permission": "execute", "resource": "ls"}
RUNBOOK = {"role": "runbook", "assignment": "echo hello", "command": ["sh", "-c", "true"]}


def keyed(caller: Caller, path: str, body: Any = None) -> Any:
    return caller.post(f"/api/v1/{path}", body or {}, Idempotency_Key="k")


def told(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("type", "")


def key(user: User | None = None, only: Any = scopes.ALL) -> Caller:
    return Caller(Django(), projects.default().pk, user=user or owner(), scopes=only)


def staff(*permissions: str) -> User:
    user = User.objects.create_user("alice", is_staff=True)
    give(user, *permissions)
    projects.default().groups.add(user.groups.create(name="team"))
    return user


def give(user: User, *permissions: str) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))


def session() -> Session:
    order = SpawnOrder(assignment="x", runner="external")
    made = spawn.spawn(projects.default(), order, Actor.system("tests")).session
    return transitions.move(made.pk, 1, Status.RUNNING)


def child(of: Session) -> Caller:
    mine = {"kind": "child", "subject": str(of.pk), "attempt": of.attempt, "user": None}
    return Caller(Django(), of.project_id, **mine)


def approved(caller: Caller, **more: Any) -> dict[str, Any]:
    asked = caller.post("/api/v1/approvals", ACTION | more).json()
    answer = {"decision": "approve", "digest": asked["digest"]}
    assert key().post(f"/api/v1/approvals/{asked['id']}/decide", answer).status_code == 200
    return dict(asked)


def test_a_replay_is_the_first_answer_and_says_so(caller: Caller) -> None:
    first, second = (keyed(caller, "approvals", ACTION) for _ in range(2))
    assert first.json() == second.json()
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.headers["Location"] == first.headers["Location"]


def test_a_consumption_is_not_replayed_once_the_attempt_is_over() -> None:
    mine = session()
    asker = key()
    asked = approved(asker, session=str(mine.pk))
    take = f"approvals/{asked['id']}/consume"
    body = {"digest": asked["digest"]}
    assert [keyed(asker, take, body).status_code for _ in range(2)] == [200, 200]
    transitions.end(mine, 1, Status.ERROR, "lost", kill_in=0)
    assert attempt_clock.is_over(mine.pk, 1)
    assert told(keyed(asker, take, body)) == (409, "not-running")


def test_a_decision_is_not_replayed_to_who_may_no_longer_decide() -> None:
    alice = staff("decide", "view_approval")
    hers = key(alice, ["approvals:decide", "approvals:read"])
    asked = key().post("/api/v1/approvals", ACTION).json()
    decide, body = f"approvals/{asked['id']}/decide", {"decision": "approve", "digest": asked["digest"]}
    assert [keyed(hers, decide, body).status_code for _ in range(2)] == [200, 200]
    give(alice, "view_approval")
    assert told(keyed(hers, decide, body)) == (403, "not-an-approver")


def test_a_decision_is_not_replayed_to_who_no_longer_sees_it() -> None:
    alice = staff("decide", "view_approval")
    hers = key(alice, ["approvals:decide", "approvals:read"])
    asked = key().post("/api/v1/approvals", ACTION).json()
    decide, body = f"approvals/{asked['id']}/decide", {"decision": "deny"}
    assert keyed(hers, decide, body).status_code == 200
    Credential.objects.filter(pk=hers.credential.pk).update(scopes=["approvals:ask"])
    assert told(keyed(hers, decide, body)) == (404, "not-found")


def test_a_decision_on_an_expired_request_is_refused_each_time(caller: Caller) -> None:
    """The refusal undoes the whole call, its expiry of the request too. The sweeper expires it."""
    asked = caller.post("/api/v1/approvals", ACTION | {"expires_in_secs": 60}).json()
    Approval.objects.update(expires_at=F("requested_at"))
    decide, body = f"approvals/{asked['id']}/decide", {"decision": "approve", "digest": asked["digest"]}
    assert [told(keyed(caller, decide, body)) for _ in range(2)] == [(410, "expired")] * 2
    assert Approval.objects.get().status == "pending"
    assert decisions.expire_due() == 1


@pytest.mark.parametrize("operation", ["withdraw", "consume"])
def test_what_was_done_to_a_request_is_not_replayed_to_who_may_no_longer_do_it(operation: str) -> None:
    alice = staff("ask", "decide", "view_approval")
    hers = key(alice, ["approvals:ask", "approvals:decide", "approvals:read"])
    asked = approved(key()) if operation == "consume" else key().post("/api/v1/approvals", ACTION).json()
    body = {"digest": asked["digest"]} if operation == "consume" else {}
    assert [keyed(hers, f"approvals/{asked['id']}/{operation}", body).status_code for _ in range(2)] == [200, 200]
    give(alice, "ask", "view_approval")
    assert told(keyed(hers, f"approvals/{asked['id']}/{operation}", body)) == (403, "forbidden")


def test_an_ask_is_not_replayed_to_who_no_longer_sees_it() -> None:
    mine = session()
    asker = child(mine)
    assert [keyed(asker, "approvals", ACTION).status_code for _ in range(2)] == [202, 202]
    Approval.objects.update(attempt=2)
    assert told(keyed(asker, "approvals", ACTION)) == (404, "not-found")


def test_a_spawn_is_not_replayed_to_who_may_no_longer_order_it() -> None:
    caller = key()
    assert [keyed(caller, "sessions", RUNBOOK).status_code for _ in range(2)] == [201, 201]
    Credential.objects.filter(pk=caller.credential.pk).update(scopes=["sessions:write", "sessions:read"])
    assert told(keyed(caller, "sessions", RUNBOOK)) == (403, "forbidden")


def test_a_spawn_is_replayed_when_its_parent_has_all_the_children_that_it_may_have(timings: Any) -> None:
    timings(children_per_parent=1)
    order = {"runner": "external", "parent": str(session().pk)}
    answers = [keyed(key_once, "sessions", order) for key_once in [key()] * 2]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[1].json()["child"]["token"] is None


@pytest.mark.parametrize("operation", ["cancel", "retry"])
def test_what_a_child_did_below_it_is_not_replayed_once_its_attempt_is_over(
    operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = session()
    token = child(mine)
    below = Session.objects.get(pk=token.post("/api/v1/sessions", {"runner": "external"}).json()["id"])
    if operation == "retry":
        assert token.post(f"/api/v1/sessions/{below.pk}/cancel", {}).status_code == 200
    assert keyed(token, f"sessions/{below.pk}/{operation}").status_code < 300
    assert keyed(token, f"sessions/{below.pk}/{operation}").headers["Idempotency-Replayed"] == "true"
    # Its token is checked before its attempt is: what ends between the two is met by the fence.
    monkeypatch.setattr(credentials, "end_for_attempt", lambda *_, **__: 0)
    transitions.end(mine, 1, Status.ERROR, "lost", kill_in=0)
    assert told(keyed(token, f"sessions/{below.pk}/{operation}")) == (409, "not-running")


def test_no_replay_without_a_live_token_or_in_another_project() -> None:
    caller = key()
    assert keyed(caller, "approvals", ACTION).status_code == 202
    elsewhere = Caller(Django(), Project.objects.create(slug="elsewhere").pk, user=owner(), scopes=scopes.ALL)
    assert "Idempotency-Replayed" not in keyed(elsewhere, "approvals", ACTION).headers
    credentials.end(caller.credential.pk, Actor.system("tests"))
    assert told(keyed(caller, "approvals", ACTION)) == (401, "unauthenticated")
