"""The session calls for their owner, for a stranger who must see nothing, and for a child with few rights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from accounts import credentials
from core.web import request_body
from ledger.models import OutboxEntry
from mailbox import session_inbox
from orchestration.api import bodies
from orchestration.models import Session
from orchestration.sessions import cancel, lifecycle
from orchestration.states import Status
from tests.orchestration import stages
from tests.orchestration.conftest import problem

pytestmark = pytest.mark.django_db

ChildOf = Callable[[Session], APIClient]
SESSIONS = "/api/v1/sessions"
RUNBOOK = {"role": "runbook", "assignment": "echo hello"}
LOOKS = ["", "/tree", "/attempts", "/events"]
STEERS = ["/token", "/cancel", "/retry", "/wait", "/messages"]


def url(session: Session, rest: str = "") -> str:
    return f"{SESSIONS}/{session.pk}{rest}"


def post(client: APIClient, path: str, body: Any = None, **headers: str) -> Any:
    return client.post(path, body if body is not None else {}, format="json", headers=headers)


def refused(answer: Any) -> list[str]:
    assert problem(answer) == (422, "invalid"), answer.content
    assert not Session.objects.exists()
    assert not OutboxEntry.objects.exists()
    return [error["field"] for error in answer.json()["errors"]]


# --- spawn ----------------------------------------------------------------------------------------------------


def test_a_spawn_answers_the_stored_session(owner: APIClient) -> None:
    answer = post(owner, SESSIONS, {**RUNBOOK, "title": "hi", "metadata": {"a": [1, None]}, "model": None})
    assert answer.status_code == 201
    body = answer.json()
    assert (body["status"], body["attempt"], body["runner"], body["depth"]) == ("queued", 1, "process", 0)
    assert (body["title"], body["metadata"], body["role"]) == ("hi", {"a": [1, None]}, "runbook")
    assert "child" not in body
    assert answer["Location"] == f"{SESSIONS}/{body['id']}"
    assert owner.get(answer["Location"]).json() == body


def test_an_external_spawn_carries_token_and_socket_once(owner: APIClient) -> None:
    order = {"runner": "external", "assignment": "x"}
    first = post(owner, SESSIONS, order, **{"Idempotency-Key": "k1"}).json()
    assert first["status"] == "starting"
    assert first["child"]["websocket_url"].endswith(f"/ws/children/{first['id']}")
    assert credentials.recognise(first["child"]["token"]).state == "live"
    second = post(owner, SESSIONS, order, **{"Idempotency-Key": "k1"}).json()
    assert second == {**first, "child": {**first["child"], "token": None}}
    assert Session.objects.count() == 1


def test_nothing_on_the_way_keeps_an_answer_that_shows_a_token(owner: APIClient) -> None:
    spawned = post(owner, SESSIONS, {"runner": "external"})
    for answer in (spawned, post(owner, f"{SESSIONS}/{spawned.json()['id']}/token")):
        assert (answer.status_code, answer.headers.get("Cache-Control")) == (201, "no-store")


def test_the_same_key_with_another_body_is_refused(owner: APIClient) -> None:
    post(owner, SESSIONS, RUNBOOK, **{"Idempotency-Key": "k1"})
    answer = post(owner, SESSIONS, {**RUNBOOK, "title": "x"}, **{"Idempotency-Key": "k1"})
    assert problem(answer) == (422, "invalid")
    assert Session.objects.count() == 1


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"assignment": "x"}, "role"),
        ({"assignment": "x", "role": "wizard"}, "role"),
        ({"assignment": "x", "role": "a b"}, "role"),
        ({"assignment": "x", "command": ["no-such-program-anywhere"]}, "command"),
        ({"assignment": "x", "command": []}, "command"),
        ({"assignment": "x", "command": "sleep 1"}, "command"),
        ({"assignment": "x", "command": ["sleep", 1]}, "command[1]"),
        ({"assignment": "x", "runner": "process"}, "command"),
        ({"assignment": "x", "runner": "pool", "command": ["sleep"]}, "runner"),
        ({"assignment": "x", "runner": "external", "command": ["sleep"]}, "command"),
        ({"assignment": "x", "runner": "cloud"}, "runner"),
        ({**RUNBOOK, "assignment": 5}, "assignment"),
        ({**RUNBOOK, "metadata": []}, "metadata"),
        ({**RUNBOOK, "metadata": {"big": "x" * 70_000}}, "metadata"),
        ({**RUNBOOK, "disabled_tools": "shell"}, "disabled_tools"),
        ({**RUNBOOK, "parent": "x"}, "parent"),
        ({**RUNBOOK, "assigment": "typo"}, "assigment"),
        ({**RUNBOOK, "title": "x" * 301}, "title"),
        ({"role": "runbook"}, "assignment"),
        ({"role": "runbook", "assignment": " \n# only a heading\n !  \n"}, "assignment"),
    ],
)
def test_a_bad_order_is_refused_by_field_and_nothing_is_stored(
    owner: APIClient, order: dict[str, Any], field: str
) -> None:
    assert field in refused(post(owner, SESSIONS, order))


def test_null_equals_absent_also_in_a_field_that_nobody_knows(owner: APIClient) -> None:
    assert post(owner, SESSIONS, {**RUNBOOK, "title": None, "assigment": None}).status_code == 201


@pytest.mark.parametrize(
    "raw", [b"[1]", b'"x"', b"{", b'{"assignment": "a", "assignment": "b"}', b'{"a": NaN}', b"\xff"]
)
def test_a_body_that_is_no_strict_json_object_is_refused(owner: APIClient, raw: bytes) -> None:
    refused(owner.post(SESSIONS, raw, content_type="application/json"))


def test_a_nul_and_a_lone_surrogate_are_refused_before_they_are_stored(owner: APIClient) -> None:
    for text in (rb"\u0000", rb"\ud800"):
        refused(
            owner.post(SESSIONS, b'{"role": "runbook", "assignment": "x%s"}' % text, content_type="application/json")
        )


def test_a_command_of_ones_own_needs_its_scope(key: Callable[..., APIClient]) -> None:
    plain = key(only=["sessions:write"])
    answer = post(plain, SESSIONS, {"assignment": "x", "command": ["sleep", "1"]})
    assert problem(answer) == (403, "forbidden")
    assert "sessions:command" in answer.json()["detail"]
    assert not Session.objects.exists()
    assert post(plain, SESSIONS, RUNBOOK).status_code == 201
    commanding = key(only=["sessions:write", "sessions:command"])
    assert post(commanding, SESSIONS, {"assignment": "x", "command": ["sleep", "1"]}).status_code == 201


def test_scopes_are_asked_for(key: Callable[..., APIClient]) -> None:
    session = stages.running()
    nobody = key(only=["approvals:read"])
    for path in LOOKS:
        assert problem(nobody.get(url(session, path))) == (403, "forbidden")
    for path in STEERS:
        assert problem(post(nobody, url(session, path))) == (403, "forbidden")
    assert problem(post(nobody, SESSIONS, RUNBOOK)) == (403, "forbidden")
    assert problem(APIClient().get(SESSIONS)) == (401, "unauthenticated")


# --- the tree ---------------------------------------------------------------------------------------------------


def test_a_child_inherits_and_the_fifth_level_is_refused(owner: APIClient) -> None:
    parent = stages.running()
    for depth in range(1, 5):
        answer = post(owner, SESSIONS, {**RUNBOOK, "parent": str(parent.pk)})
        assert answer.json()["depth"] == depth
        parent = Session.objects.get(pk=answer.json()["id"])
    answer = post(owner, SESSIONS, {**RUNBOOK, "parent": str(parent.pk)})
    assert problem(answer) == (422, "invalid")
    assert Session.objects.count() == 5


def test_a_parent_has_at_most_64_children_that_are_not_over(owner: APIClient) -> None:
    parent = stages.running()
    for _ in range(64):
        stages.queued(parent=parent.pk)
    answer = post(owner, SESSIONS, {**RUNBOOK, "parent": str(parent.pk)})
    assert problem(answer) == (429, "too-many")
    assert answer["Retry-After"]
    cancel.cancel(stages.project(), parent.children.first().pk, "room", stages.ACTOR)
    assert post(owner, SESSIONS, {**RUNBOOK, "parent": str(parent.pk)}).status_code == 201


def test_an_unknown_foreign_or_ended_parent_is_refused(owner: APIClient, stranger: APIClient) -> None:
    session = stages.running()
    for client, parent in ((owner, uuid4()), (stranger, session.pk)):
        assert problem(post(client, SESSIONS, {**RUNBOOK, "parent": str(parent)})) == (404, "not-found")
    done = stages.ended()
    assert problem(post(owner, SESSIONS, {**RUNBOOK, "parent": str(done.pk)})) == (409, "not-running")


def test_the_tree_nests_children_below_the_session_asked_for(owner: APIClient) -> None:
    top = stages.running()
    middle = stages.running(parent=top.pk)
    low = stages.queued(parent=middle.pk)
    stages.queued(parent=top.pk)
    shown = owner.get(url(top, "/tree")).json()
    assert next(child["id"] for child in shown["children"]) == str(middle.pk)
    assert len(shown["children"]) == 2
    below = owner.get(url(middle, "/tree")).json()
    assert [child["id"] for child in below["children"]] == [str(low.pk)]


# --- strangers and children --------------------------------------------------------------------------------------


def test_a_stranger_cannot_tell_a_foreign_session_from_none(stranger: APIClient) -> None:
    session = stages.running()
    for path in LOOKS:
        assert stranger.get(url(session, path)).json() == stranger.get(f"{SESSIONS}/{uuid4()}{path}").json()
        assert problem(stranger.get(url(session, path))) == (404, "not-found")
    for path in STEERS:
        body = {"message_kind": "task", "body": "x"} if path == "/messages" else {}
        assert problem(post(stranger, url(session, path), body)) == (404, "not-found")
    assert stranger.get(SESSIONS).json()["results"] == []
    assert stages.again(session).cancel_requested_at is None


def test_a_child_spawns_under_itself_alone(child_of: ChildOf) -> None:
    me, other = stages.running(), stages.running()
    client = child_of(me)
    assert post(client, SESSIONS, RUNBOOK).json()["parent"] == str(me.pk)
    assert post(client, SESSIONS, {**RUNBOOK, "parent": str(me.pk)}).status_code == 201
    assert problem(post(client, SESSIONS, {**RUNBOOK, "parent": str(other.pk)})) == (404, "not-found")
    answer = post(client, SESSIONS, {"assignment": "x", "command": ["sleep", "1"]})
    assert problem(answer) == (403, "forbidden")
    assert len(client.get(SESSIONS).json()["results"]) == 2


def test_a_child_sees_and_steers_what_is_below_it_and_nothing_else(child_of: ChildOf) -> None:
    me = stages.running()
    mine, foreign = stages.running(parent=me.pk), stages.running()
    client = child_of(me)
    assert client.get(url(me)).status_code == client.get(url(mine)).status_code == 200
    assert problem(client.get(url(foreign))) == (404, "not-found")
    assert problem(post(client, url(foreign, "/cancel"))) == (404, "not-found")
    assert problem(post(client, url(me, "/cancel"))) == (403, "forbidden")
    assert post(client, url(mine, "/cancel")).status_code == 200
    assert problem(post(client, url(mine, "/token"))) == (403, "forbidden")


def test_a_childs_message_is_from_itself_whatever_it_says(child_of: ChildOf) -> None:
    me = stages.running()
    mine = stages.running(parent=me.pk)
    body = {"message_kind": "task", "body": {"text": "x"}, "from": {"role": "boss"}}
    assert post(child_of(me), url(mine, "/messages"), body).json()["outcome"] == "queued"
    (message,) = session_inbox.unadmitted(mine.project_id, mine.address)
    assert (message.sender_session, message.claimed_sender) == (str(me.pk), False)


def test_a_role_with_a_nul_is_422(owner: APIClient) -> None:
    assert problem(owner.get(f"{SESSIONS}?role=a%00b")) == (422, "invalid")


def test_a_child_interrupts_what_is_below_it_and_never_itself(child_of: ChildOf) -> None:
    me = stages.running()
    mine = stages.running(parent=me.pk)
    body = {"message_kind": "task", "body": {"text": "x"}, "interrupt": True}
    assert problem(post(child_of(me), url(me, "/messages"), body)) == (403, "forbidden")
    assert stages.again(me).cancel_requested_at is None
    assert not session_inbox.unadmitted(me.project_id, me.address)
    assert post(child_of(me), url(mine, "/messages"), body).status_code == 202
    assert stages.again(mine).restart


def test_a_dead_token_opens_nothing(child_of: ChildOf) -> None:
    me = stages.running()
    client = child_of(me)
    lifecycle.finish(me.pk, 1, Status.COMPLETED)
    assert problem(client.get(url(me))) == (401, "unauthenticated")
    assert problem(post(client, SESSIONS, RUNBOOK)) == (401, "unauthenticated")


# --- steering ------------------------------------------------------------------------------------------------------


def test_a_fresh_token_ends_the_one_before(owner: APIClient) -> None:
    first = post(owner, SESSIONS, {"runner": "external"}).json()
    answer = post(owner, f"{SESSIONS}/{first['id']}/token")
    assert answer.status_code == 201
    assert (answer.json()["attempt"], answer.json()["websocket_url"]) == (1, first["child"]["websocket_url"])
    assert credentials.recognise(first["child"]["token"]).state == "ended"
    assert credentials.recognise(answer.json()["token"]).state == "live"


def test_a_process_or_an_ended_session_has_no_token_to_give(owner: APIClient) -> None:
    assert problem(post(owner, url(stages.running(), "/token"))) == (409, "conflict")
    done = stages.queued(runner="external", command=None)
    cancel.cancel(stages.project(), done.pk, "x", stages.ACTOR)
    assert problem(post(owner, url(done, "/token"))) == (409, "not-running")


def test_cancel_retry_and_wait_answer_the_session(owner: APIClient) -> None:
    session = stages.queued()
    assert problem(post(owner, url(session, "/wait"))) == (409, "not-running")
    assert problem(post(owner, url(session, "/retry"))) == (409, "conflict")
    assert post(owner, url(session, "/cancel"), {"reason": "no"}).json()["error"] == "no"
    answer = post(owner, url(session, "/retry"))
    assert (answer.status_code, answer.json()["status"], answer.json()["attempt"]) == (202, "queued", 2)
    running = stages.running()
    answer = post(owner, url(running, "/wait"), {"wait_for": "any", "timeout_secs": 5})
    assert answer.json()["waiting_for"] == {"wait_for": "any", "children": []}


def test_a_whole_number_may_be_written_with_a_decimal_point() -> None:
    assert request_body.convert({"timeout_secs": 60.0}, bodies.WaitBody).timeout_secs == 60


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/cancel", {"cascade": "yes"}, "cascade"),
        ("/cancel", {"reason": ""}, "reason"),
        ("/wait", {"wait_for": "some"}, "wait_for"),
        ("/wait", {"timeout_secs": True}, "timeout_secs"),
        ("/wait", {"timeout_secs": 1.5}, "timeout_secs"),
        ("/wait", {"children": ["x"]}, "children[0]"),
        ("/wait", {"children": [str(uuid4())]}, "children"),
        ("/messages", {"message_kind": "task"}, "body"),
        ("/messages", {"body": "x"}, "message_kind"),
        ("/messages", {"message_kind": "completion", "body": {}}, "message_kind"),
        ("/messages", {"message_kind": "task", "body": {}, "interrupt": 1}, "interrupt"),
    ],
)
def test_a_bad_body_is_refused_by_field(owner: APIClient, path: str, body: dict[str, Any], field: str) -> None:
    answer = post(owner, url(stages.running(), path), body)
    assert problem(answer) == (422, "invalid")
    assert [error["field"].split(".")[: field.count(".") + 1] for error in answer.json()["errors"]] == [
        field.split(".")
    ]


def test_a_message_may_claim_any_sender_as_at_a_mailbox(owner: APIClient) -> None:
    session = stages.queued()
    sender = {"session_id": "parent", "role": "boss"}
    answer = post(owner, url(session, "/messages"), {"message_kind": "task", "body": "x", "from": sender})
    assert answer.status_code == 202
    assert post(owner, url(session, "/messages"), {"from": {"session_id": "x" * 257}}).status_code == 422


def test_a_message_answers_its_id_and_outcome(owner: APIClient) -> None:
    session = stages.ended()
    answer = post(owner, url(session, "/messages"), {"id": "m1", "message_kind": "task", "body": {"text": "x"}})
    assert (answer.status_code, answer.json()) == (202, {"id": "m1", "outcome": "started"})
    other = post(owner, url(session, "/messages"), {"id": "m1", "message_kind": "task", "body": {"text": "y"}})
    assert problem(other) == (409, "conflict")


def test_lists_page_and_filter(owner: APIClient) -> None:
    running = stages.running()
    for _ in range(3):
        stages.queued()
    first = owner.get(SESSIONS, {"limit": "2"}).json()
    second = owner.get(SESSIONS, {"limit": "2", "cursor": first["next"]}).json()
    ids = [row["id"] for row in first["results"] + second["results"]]
    assert (len(set(ids)), second["next"], ids[-1]) == (4, None, str(running.pk))
    assert [row["id"] for row in owner.get(SESSIONS, {"status": "running"}).json()["results"]] == [str(running.pk)]
    assert problem(owner.get(SESSIONS, {"status": "odd"})) == (422, "invalid")
    assert problem(owner.get(SESSIONS, {"parent": "odd"})) == (422, "invalid")


def test_a_running_session_without_a_connection_is_shown_as_lost(owner: APIClient) -> None:
    session = stages.running()
    shown = owner.get(url(session)).json()
    assert (shown["live"], shown["lost"]) == (False, True)
    assert owner.get(url(stages.queued())).json()["lost"] is False


@pytest.mark.parametrize("cursor", ["x", "7", "0.1.1.1", "1.1.0.1", "9.0.0.0"])
def test_a_cursor_that_no_page_of_this_history_had_is_refused_with_its_cure(owner: APIClient, cursor: str) -> None:
    answer = owner.get(f"/api/v1/sessions/{stages.running().pk}/history", {"cursor": cursor})
    assert problem(answer) == (422, "invalid")
    [error] = answer.json()["errors"]
    assert error["field"] == "cursor"
    assert error["detail"].startswith("must be `next` of a page of this history; leave it out to begin")
