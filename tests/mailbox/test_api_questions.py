"""An ask at a plain address by REST: sent as a message, answered once by its reader, found by its id."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from mailbox import delivery
from mailbox.addresses import session_address
from mailbox.envelope import NewMessage
from mailbox.models import Message
from tests.mailbox.faces import Caller

pytestmark = pytest.mark.django_db
DESK = "/api/v1/mailboxes/desk"
ASK = {"id": "q", "message_kind": "ask", "body": {"question": "green?"}, "correlation_id": "c"}


def problem(answer: Any) -> Any:
    return answer.status_code, answer.json()["type"]


def test_an_ask_is_answered_once_and_its_answer_is_found_by_its_id(caller: Caller) -> None:
    caller.post(f"{DESK}/messages", ASK)
    assert caller.get(f"{DESK}/asks/q").json() == {"status": "pending", "ask_id": "q"}
    (drained,) = caller.post(f"{DESK}/drain", {}).json()["messages"]
    replies = [caller.post(f"{DESK}/reply", {"ask_id": drained["id"], "answer": {"green": True}}) for _ in range(2)]
    assert [answer.status_code for answer in replies] == [201, 201]
    assert replies[0].json() == replies[1].json()
    assert problem(caller.post(f"{DESK}/reply", {"ask_id": "q", "answer": None})) == (409, "already-answered")
    told = caller.get(f"{DESK}/asks/q").json()
    assert (told["status"], told["answer"]) == ("answered", {"green": True})
    assert told["from"] == {"session_id": None, "role": None} and told["answered_at"].endswith("Z")
    assert Message.objects.get(message_kind="reply").correlation_id == "c"


def test_null_is_an_answer_and_nothing_is_none(caller: Caller) -> None:
    caller.post(f"{DESK}/messages", ASK)
    missing = caller.post(f"{DESK}/reply", {"ask_id": "q"})
    assert problem(missing) == (422, "invalid") and missing.json()["errors"][0]["field"] == "answer"
    assert problem(caller.post(f"{DESK}/reply", {"answer": 1})) == (422, "invalid")
    assert problem(caller.post(f"{DESK}/reply", [])) == (422, "invalid")
    assert problem(caller.post(f"{DESK}/reply", {"ask_id": "q", "answer": "x" * 300_000})) == (422, "invalid")
    assert caller.post(f"{DESK}/reply", {"ask_id": "q", "answer": None}).status_code == 201
    assert caller.get(f"{DESK}/asks/q").json()["answer"] is None


def test_what_is_not_here_is_not_found(caller: Caller, stranger: Caller) -> None:
    caller.post(f"{DESK}/messages", ASK)
    caller.post(f"{DESK}/messages", {"id": "task", "message_kind": "task", "body": "x"})
    for who, address, name in (
        (caller, DESK, "unknown"),
        (caller, DESK, "task"),
        (caller, DESK, "%00"),
        (caller, DESK.replace("desk", "other"), "q"),
        (stranger, DESK, "q"),
    ):
        assert problem(who.get(f"{address}/asks/{name}")) == (404, "not-found")
        assert problem(who.post(f"{address}/reply", {"ask_id": name, "answer": 1})) == (404, "not-found")
    assert not Message.objects.filter(message_kind="reply").exists()


@pytest.mark.parametrize("timeout", ["x", "-1", "1e2", "nan", "", "301", "1.2.3"])
def test_a_timeout_is_a_number_of_seconds(caller: Caller, timeout: str) -> None:
    caller.post(f"{DESK}/messages", ASK)
    refused = caller.get(f"{DESK}/asks/q", timeout=timeout)
    assert problem(refused) == (422, "invalid") and refused.json()["errors"][0]["field"] == "timeout"


def test_a_sessions_mailbox_is_answered_by_its_connection_alone(caller: Caller, project: UUID) -> None:
    for address in (session_address(uuid4()), "wardroom:answers"):
        refused = caller.post(f"/api/v1/mailboxes/{address}/reply", {"ask_id": "q", "answer": 1})
        assert problem(refused) == (403, "reserved-address")


def test_a_sessions_ask_is_answered_in_its_mailbox(caller: Caller, project: UUID) -> None:
    session = uuid4()
    sent = NewMessage(id="q", message_kind="ask", body={"question": "?"}, sender_session=session)
    delivery.deliver(project, "desk", [sent])
    assert caller.post(f"{DESK}/reply", {"ask_id": "q", "answer": 1}).status_code == 201
    assert problem(caller.get(f"{DESK}/asks/q")) == (404, "not-found")
    assert Message.objects.get(message_kind="reply").address.name == session_address(session)
