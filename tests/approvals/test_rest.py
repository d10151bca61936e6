"""The approvals by REST: rights, every refusal with its type, and the walls between projects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from accounts.models import Project, User
from approvals import attempt_clock
from approvals.models import Approval
from ledger.audit import chain
from tests import before_django
from tests.approvals.conftest import Asked, staff

pytestmark = pytest.mark.django_db

BODY = {
    "request_id": "r-1",
    "tool_name": "shell",
    "permission": "execute",
    "resource": "ls",
    "arguments": {"command": "ls"},
}


class Caller:
    """One bearer's way in."""

    def __init__(self, headers: Any) -> None:
        self.headers = headers
        self.client = Client()

    def get(self, path: str = "", **params: Any) -> Any:
        return before_django.get(self.client, f"/api/v1/approvals{path}", self.headers, params)

    def post(self, path: str = "", body: Any = None, **headers: Any) -> Any:
        return self.client.post(
            f"/api/v1/approvals{path}", body, content_type="application/json", headers=self.headers | headers
        )


@pytest.fixture
def key(bearer: Callable[..., dict[str, str]], project: Project, alice: User) -> Caller:
    return Caller(bearer(project, alice))


@pytest.fixture
def the_child(bearer: Callable[..., dict[str, str]], project: Project, session: UUID) -> Caller:
    return Caller(bearer(project, session=session))


@pytest.fixture
def foreign(bearer: Callable[..., dict[str, str]], elsewhere: Project, stranger: User) -> Caller:
    return Caller(bearer(elsewhere, stranger))


def test_asking_answers_202_with_the_place_to_look(key: Any) -> None:
    answer = key.post(body=BODY)
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/v1/approvals/{answer.json()['id']}"
    shape = key.get(f"/{answer.json()['id']}").json()
    assert shape == answer.json()
    assert shape["status"] == "pending"
    assert shape["decision"] is None
    assert shape["arguments"] == {"command": "ls"}
    assert (shape["session"], shape["attempt"], shape["via"]) == (None, None, "rest")


def test_the_shape_has_every_member_of_the_contract(key: Any) -> None:
    promised = """id request_id project session attempt tool_name permission resource question arguments risk
    allowed_decisions status version digest proposed_digest expires_at requested_at decided_at decided_by decision
    delivered_at consumed_at waiters"""
    assert set(promised.split()) <= set(key.post(body=BODY).json())


def test_the_whole_life_by_rest(key: Any, project: Project) -> None:
    asked = key.post(body=BODY).json()
    path = f"/{asked['id']}"
    assert key.post(f"{path}/consume", {"digest": asked["digest"]}).json()["type"] == "not-approved"
    decided = key.post(f"{path}/decide", {"decision": "approve", "digest": asked["digest"], "note": "psst"})
    assert decided.status_code == 200
    shape = decided.json()
    assert shape["decided_by"]["kind"] == "key"
    decision = {"kind": "approve", "message": None, "arguments": {"command": "ls"}, "response": None, "via": "rest"}
    assert shape["decision"] == decision
    assert "psst" not in decided.content.decode()
    assert key.get(unconsumed="true").json()["results"][0]["id"] == asked["id"]
    assert key.post(f"{path}/consume", {"digest": asked["digest"], "claim": "c"}).status_code == 200
    assert key.post(f"{path}/consume", {"digest": asked["digest"], "claim": "c"}).status_code == 200
    assert key.post(f"{path}/consume", {"digest": asked["digest"], "claim": "d"}).json()["type"] == "consumed"
    assert key.get(unconsumed="true").json()["results"] == []
    assert chain.verify(project.pk) is None


def test_asking_twice_is_asking_once_and_another_body_is_a_conflict(key: Any) -> None:
    first, second = key.post(body=BODY), key.post(body=BODY)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    other = key.post(body=BODY | {"resource": "rm"})
    assert (other.status_code, other.json()["type"]) == (409, "conflict")


def test_a_key_asks_for_the_running_attempt_of_a_session(key: Any, session: UUID, project: Project) -> None:
    attempt_clock.open(project.pk, session, 2)
    assert key.post(body=BODY | {"session": str(session)}).json()["attempt"] == 2
    attempt_clock.settle(session, 2)
    over = key.post(body=BODY | {"session": str(session), "request_id": "r-2"})
    assert (over.status_code, over.json()["type"]) == (409, "not-running")


def test_a_child_asks_for_its_own_attempt_only(the_child: Any, session: UUID, project: Project) -> None:
    answer = the_child.post(body=BODY)
    assert (answer.status_code, answer.json()["session"], answer.json()["attempt"]) == (202, str(session), 1)
    other = uuid4()
    attempt_clock.open(project.pk, other, 1)
    assert the_child.post(body=BODY | {"session": str(other)}).status_code == 404


def test_a_child_may_wait_withdraw_and_consume_and_nothing_else(the_child: Any, key: Any) -> None:
    asked = the_child.post(body=BODY).json()
    path = f"/{asked['id']}"
    assert the_child.get().status_code == 403
    assert the_child.get("/count").status_code == 403
    assert the_child.get(path).status_code == 403
    refused = the_child.post(f"{path}/decide", {"decision": "approve", "digest": asked["digest"]})
    assert (refused.status_code, refused.json()["type"]) == (403, "not-an-approver")
    assert the_child.get(f"{path}/wait", timeout="0").json()["timed_out"] is True
    key.post(f"{path}/decide", {"decision": "approve", "digest": asked["digest"]})
    assert the_child.post(f"{path}/consume", {"digest": asked["digest"]}).status_code == 200
    second = the_child.post(body=BODY | {"request_id": "r-2"}).json()
    withdrawn = the_child.post(f"/{second['id']}/withdraw", {"reason": "no need"})
    assert (withdrawn.status_code, withdrawn.json()["cancel_reason"]) == (200, "withdrawn")


def test_a_child_sees_nothing_of_another_child_nor_of_another_attempt(
    bearer: Callable[..., dict[str, str]], project: Project, asked: Asked, session: UUID
) -> None:
    approval = asked()
    for other in ({"session": uuid4()}, {"session": session, "attempt": 2}):
        stranger = Caller(bearer(project, **other))
        for call in ("decide", "withdraw", "consume"):
            body = {"decision": "deny", "digest": approval.digest}
            assert stranger.post(f"/{approval.id}/{call}", body).status_code == 404
        assert stranger.get(f"/{approval.id}/wait", timeout="0").status_code == 404


def test_a_foreign_project_answers_as_for_an_unknown_id(foreign: Any, asked: Asked) -> None:
    approval = asked()
    for path in ("", "/wait"):
        known, unknown = foreign.get(f"/{approval.id}{path}"), foreign.get(f"/{uuid4()}{path}")
        assert (known.status_code, known.content) == (404, unknown.content)
    for call in ("decide", "withdraw", "consume"):
        body = {"decision": "approve", "digest": approval.digest}
        known, unknown = (foreign.post(f"/{id}/{call}", body) for id in (approval.id, uuid4()))
        assert (known.status_code, known.content) == (404, unknown.content)
    assert foreign.get().json()["results"] == []
    assert foreign.get("/count").json()["count"] == 0
    assert foreign.get(session=str(approval.session)).json()["results"] == []
    assert foreign.post(body=BODY | {"session": str(approval.session)}).status_code == 404
    approval.refresh_from_db()
    assert approval.status == "pending"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("get", "", "approvals:read"),
        ("get", "/count", "approvals:read"),
        ("get", "/{id}", "approvals:read"),
        ("post", "", "approvals:ask"),
        ("post", "/{id}/withdraw", "approvals:ask"),
        ("post", "/{id}/consume", "approvals:ask"),
        ("post", "/{id}/decide", "approvals:decide"),
    ],
)
def test_each_call_needs_its_scope(
    bearer: Callable[..., dict[str, str]],
    project: Project,
    alice: User,
    asked: Asked,
    method: str,
    path: str,
    scope: str,
) -> None:
    approval = asked()
    body = {**BODY, "decision": "deny", "digest": approval.digest}
    without = Caller(bearer(project, alice, scopes=["feed:read", "sessions:write"]))
    send = (lambda caller: caller.get(path.format(id=approval.id))) if method == "get" else None
    send = send or (lambda caller: caller.post(path.format(id=approval.id), body))
    assert send(without).status_code == 403
    assert send(Caller({})).status_code == 401
    assert send(Caller({"Authorization": "Bearer wr_key_x"})).status_code == 401
    assert send(Caller(bearer(project, alice, scopes=[scope]))).status_code not in (401, 403)


def test_a_signed_in_browser_is_nobody_to_rest(alice: User, asked: Asked) -> None:
    client = Client()
    client.force_login(alice)
    assert client.get("/api/v1/approvals").status_code == 401


def test_a_stranger_is_told_404_before_anybody_is_told_403(
    bearer: Callable[..., dict[str, str]], project: Project, viewer: User, asked: Asked
) -> None:
    weak = Caller(bearer(project, viewer, scopes=["approvals:read"]))
    assert weak.post(f"/{uuid4()}/decide", {"decision": "deny"}).status_code == 404
    refused = weak.post(f"/{asked().id}/decide", {"decision": "deny"})
    assert (refused.status_code, refused.json()["type"]) == (403, "not-an-approver")


def test_a_key_decides_no_more_than_its_owner_may(
    bearer: Callable[..., dict[str, str]], project: Project, viewer: User, asked: Asked
) -> None:
    refused = Caller(bearer(project, viewer)).post(f"/{asked().id}/decide", {"decision": "deny"})
    assert (refused.status_code, refused.json()["type"]) == (403, "not-an-approver")


def test_every_refusal_of_decide_has_its_type(
    key: Any, bearer: Callable[..., dict[str, str]], project: Project, bob: User, asked: Asked
) -> None:
    approval = asked()
    path, right = f"/{approval.id}/decide", {"decision": "approve", "digest": approval.digest}
    cases = [
        ({**right, "digest": "0" * 64}, 409, "digest-mismatch"),
        ({**right, "version": 2}, 409, "version-conflict"),
        ({**right, "decision": "maybe"}, 422, "invalid"),
        ({"decision": "approve"}, 422, "invalid"),
        ({}, 422, "invalid"),
        ([], 422, "invalid"),
    ]
    for body, status, kind in cases:
        refused = key.post(path, body)
        assert (refused.status_code, refused.json()["type"]) == (status, kind)
        assert refused.headers["Content-Type"] == "application/problem+json"
    assert key.post(path, right).status_code == 200
    assert key.post(path, right).status_code == 200
    late = Caller(bearer(project, bob)).post(path, right)
    assert (late.status_code, late.json()["type"]) == (409, "already-decided")
    assert late.json()["approval"]["decided_by"]["name"]


def test_an_expired_request_is_410(key: Any, asked: Asked) -> None:
    approval = asked(expires_in_secs=60)
    Approval.objects.filter(pk=approval.pk).update(expires_at=approval.requested_at)
    refused = key.post(f"/{approval.id}/decide", {"decision": "deny"})
    assert (refused.status_code, refused.json()["type"]) == (410, "expired")
    assert key.get(f"/{approval.id}").json()["status"] == "expired"


def test_who_decided_is_never_read_from_the_body(key: Any, asked: Asked, alice: User) -> None:
    approval = asked()
    body = {"decision": "deny", "decided_by": {"name": "root"}, "user": 1, "via": "rule"}
    assert fields(key.post(f"/{approval.id}/decide", body)) == ["decided_by", "user", "via"]
    approval.refresh_from_db()
    assert (approval.status, approval.decided_by) == ("pending", None)
    assert key.post(f"/{approval.id}/decide", {"decision": "deny"}).json()["decision"]["via"] == "rest"
    approval.refresh_from_db()
    assert approval.decided_by["user_id"] == alice.pk


def fields(refused: Any) -> list[Any]:
    assert (refused.status_code, refused.json()["type"]) == (422, "invalid")
    return [each["field"] for each in refused.json()["errors"]]


def test_a_field_that_a_call_does_not_know_is_named_and_nothing_is_done(key: Any, asked: Asked) -> None:
    assert fields(key.post(body=BODY | {"expires_in": 60})) == ["expires_in"]
    assert not Approval.objects.exists()
    approval = asked()
    right = {"decision": "approve", "digest": approval.digest}
    for call, body in (("decide", right), ("withdraw", {}), ("consume", {"digest": approval.digest})):
        assert fields(key.post(f"/{approval.id}/{call}", body | {"versoin": 1})) == ["versoin"]
    approval.refresh_from_db()
    assert approval.status == "pending"
    assert key.post(f"/{approval.id}/decide", right | {"versoin": None}).status_code == 200
    # What stands is checked before the answer is read.
    assert key.post(f"/{approval.id}/decide", right | {"decision": "deny", "versoin": 1}).status_code == 409


def test_an_idempotency_key_repeats_the_answer(key: Any, asked: Asked) -> None:
    approval = asked()
    path, body = f"/{approval.id}/decide", {"decision": "deny", "message": "no"}
    first, second = (key.post(path, body, **{"Idempotency-Key": "k"}) for _ in range(2))
    assert (second.status_code, second.json()) == (200, first.json())
    assert second.headers["Idempotency-Replayed"] == "true"
    assert key.post(path, {"decision": "approve"}, **{"Idempotency-Key": "k"}).status_code == 422


@pytest.mark.parametrize(
    "raw",
    [
        '{"request_id": "r", "tool_name": "t", "permission": "p", "resource": "", "arguments": {"n": NaN}}',
        '{"request_id": "r\\u0000", "tool_name": "t", "permission": "p", "resource": ""}',
        '{"request_id": "r\\ud800", "tool_name": "t", "permission": "p", "resource": ""}',
        '{"request_id": "r", "request_id": "s", "tool_name": "t", "permission": "p", "resource": ""}',
        '{"request_id": "r", "tool_name": "t", "permission": "p", "resource": "",'
        ' "arguments": {"n": 9007199254740993}}',
        "{",
        "[]",
        '"x"',
    ],
)
def test_broken_json_is_refused_and_nothing_is_stored(key: Any, raw: str) -> None:
    answer = key.client.post("/api/v1/approvals", raw, content_type="application/json", headers=key.headers)
    assert (answer.status_code, answer.json()["type"]) == (422, "invalid")
    assert not Approval.objects.exists()


def test_a_list_is_read_in_pages_oldest_first(key: Any, asked: Asked) -> None:
    ids = [str(asked().id) for _ in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        page = key.get(limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += [row["id"] for row in page["results"]]
        cursor = page["next"]
    assert (seen, cursor) == (ids, None)


def test_filters(key: Any, asked: Asked, approved: Asked, session: UUID) -> None:
    pending, decided = asked(), approved(tool_name="mail")
    assert [row["id"] for row in key.get(status="pending").json()["results"]] == [str(pending.id)]
    assert len(key.get(status="pending,approved").json()["results"]) == 2
    assert [row["id"] for row in key.get(tool="mail").json()["results"]] == [str(decided.id)]
    assert len(key.get(session=str(session)).json()["results"]) == 2
    assert key.get(session=str(uuid4())).json()["results"] == []


@pytest.mark.parametrize(
    "params",
    [
        {"status": "maybe"},
        {"session": "x"},
        {"cursor": "x"},
        {"cursor": "WyJ4IiwieSJd"},
        {"cursor": "WzEsMl0"},
        {"cursor": "WyJcdTAwMDAiLCIyIl0"},
        {"limit": "0"},
        {"limit": "x"},
    ],
)
def test_a_question_that_means_nothing_is_422(key: Any, params: Any) -> None:
    assert key.get(**params).status_code == 422


def test_a_tool_with_a_nul_in_its_name_is_422(key: Any) -> None:
    assert key.get(tool="\0").status_code == 422


def test_counts_tell_what_waits(key: Any, asked: Asked, approved: Asked) -> None:
    oldest = asked()
    asked()
    approved()
    counts = key.get("/count").json()
    assert (counts["count"], counts["pending"], counts["approved"], counts["unconsumed"]) == (3, 2, 1, 1)
    assert counts["oldest_pending_at"] == key.get(f"/{oldest.id}").json()["requested_at"]


def test_a_superuser_outside_the_projects_groups_may_decide(
    bearer: Callable[..., dict[str, str]], project: Project, asked: Asked
) -> None:
    root = staff("root")
    root.is_superuser = True
    root.save()
    assert Caller(bearer(project, root)).post(f"/{asked().id}/decide", {"decision": "deny"}).status_code == 200


STRANGE: Any = [None, True, 0, -1, 1.5, 10**15, "", "x", "x" * 70_000, "\u202e", [], [[]], [None], {}, {"a": {"b": []}}]


@pytest.mark.parametrize("field", [*BODY, "session", "question", "risk", "expires_in_secs", "allowed_decisions"])
def test_no_value_of_a_request_breaks_the_server(key: Any, field: Any) -> None:
    for number, value in enumerate(STRANGE):
        answer = key.post(body=BODY | {"request_id": f"r-{number}", field: value})
        assert answer.status_code in (202, 404, 409, 422), (field, value, answer.content)


@pytest.mark.parametrize("field", ["decision", "digest", "version", "message", "note", "arguments", "reason", "claim"])
def test_no_value_of_an_answer_breaks_the_server(key: Any, asked: Asked, field: str) -> None:
    for value in STRANGE:
        for call in ("decide", "withdraw", "consume"):
            approval = asked()
            body = {"decision": "edit", "digest": approval.digest, "arguments": {}, field: value}
            answer = key.post(f"/{approval.id}/{call}", body)
            assert answer.status_code in (200, 409, 422), (call, field, value, answer.content)


@pytest.mark.parametrize("body", ["", "null", "[]", "7", '"x"', "{}", "\ufeff{}", "\x00"])
def test_no_body_breaks_the_server(key: Any, asked: Asked, body: str) -> None:
    approval = asked()
    for path in ("", f"/{approval.id}/decide", f"/{approval.id}/withdraw", f"/{approval.id}/consume"):
        answer = key.client.post(f"/api/v1/approvals{path}", body, content_type="application/json", headers=key.headers)
        assert answer.status_code in (200, 409, 422), (path, answer.content)
