"""Accepting messages: once for one id, in order, all or none, and nothing that storage would choke on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.web.problems import Problem
from ledger import unit_of_work
from mailbox import claims, delivery
from mailbox.addresses import session_address
from mailbox.envelope import NewMessage
from mailbox.models import Message
from mailbox.store import insert
from tests.mailbox.conftest import task

pytestmark = pytest.mark.django_db


def test_messages_are_numbered_in_the_order_of_acceptance(project: UUID) -> None:
    first = delivery.deliver(project, "desk", [task("a"), task("b")])
    second = delivery.deliver(project, "desk", [task("c")])
    assert [each.seq for each in first + second] == [1, 2, 3]
    assert [row.body for row in claims.drain(project, "desk").messages] == ["a", "b", "c"]


def test_each_address_counts_for_itself(project: UUID) -> None:
    delivery.deliver(project, "desk", [task()])
    assert delivery.deliver(project, "shelf", [task()])[0].seq == 1


def test_the_same_id_and_content_again_is_the_same_message(project: UUID) -> None:
    first = delivery.deliver(project, "desk", [task("a", id="one")])[0]
    again = delivery.deliver(project, "desk", [task("a", id="one")])[0]
    assert (again.id, again.seq, again.duplicate) == (first.id, first.seq, True)
    assert not first.duplicate
    assert Message.objects.count() == 1


@pytest.mark.parametrize("others", [["new"], ["new", "old"]])
def test_what_is_let_go_between_two_looks_stands_in_nobodys_way(
    project: UUID, monkeypatch: pytest.MonkeyPatch, others: Any
) -> None:
    delivery.deliver(project, "desk", [task("a", id="old")])
    look = insert._existing

    def too_late(project_id: Any, ids: Any) -> Any:
        monkeypatch.undo()
        # As the retention sweep does, once the old message has kept the same id from being inserted.
        Message.objects.filter(message_id="old").delete()
        return look(project_id, ids)

    monkeypatch.setattr(insert, "_existing", too_late)
    sent = delivery.deliver(project, "desk", [task("a", id=id) for id in ["old", *others]])
    assert [each.duplicate for each in sent] == [False, False, True][: len(sent)]
    assert [row.message_id for row in claims.drain(project, "desk").messages] == ["new", "old"]


def test_a_retry_may_stamp_itself_anew(project: UUID) -> None:
    delivery.deliver(project, "desk", [task("a", id="one", created_at=datetime(2026, 1, 1, tzinfo=UTC))])
    again = delivery.deliver(project, "desk", [task("a", id="one", created_at=datetime(2026, 1, 2, tzinfo=UTC))])
    assert again[0].duplicate


def test_the_order_of_an_objects_keys_makes_no_other_message(project: UUID) -> None:
    delivery.deliver(project, "desk", [task({"a": 1, "b": 2}, id="one")])
    assert delivery.deliver(project, "desk", [task({"b": 2, "a": 1}, id="one")])[0].duplicate


@pytest.mark.parametrize(
    "other",
    [
        task("b", id="one"),
        NewMessage(message_kind="handoff", body="a", id="one"),
        task("a", id="one", correlation_id="x"),
        task("a", id="one", sender_role="boss"),
        task("a", id="one", sender_session="s"),
        task("a", id="one", claimed_sender=True),
    ],
)
def test_the_same_id_with_other_content_is_a_conflict(project: UUID, other: Any) -> None:
    delivery.deliver(project, "desk", [task("a", id="one")])
    with pytest.raises(Problem) as refusal:
        delivery.deliver(project, "desk", [other])
    assert (refusal.value.type, refusal.value.status) == ("conflict", 409)
    assert Message.objects.get().body == "a"


def test_the_same_id_at_another_address_is_a_conflict(project: UUID) -> None:
    delivery.deliver(project, "desk", [task("a", id="one")])
    with pytest.raises(Problem, match="another message"):
        delivery.deliver(project, "shelf", [task("a", id="one")])


def test_another_project_may_use_the_same_id(project: UUID, foreign: UUID) -> None:
    delivery.deliver(project, "desk", [task("a", id="one")])
    assert not delivery.deliver(foreign, "desk", [task("b", id="one")])[0].duplicate
    assert [row.body for row in claims.drain(foreign, "desk").messages] == ["b"]


def test_one_call_with_one_id_twice_makes_one_row(project: UUID) -> None:
    outcomes = delivery.deliver_each(project, "desk", [task("a", "x"), task("a", "x"), task("b", "x")])
    assert [getattr(each, "duplicate", None) for each in outcomes] == [False, True, None]
    assert isinstance(outcomes[2], Problem)
    assert Message.objects.get().body == "a"


def test_all_or_none(project: UUID) -> None:
    with pytest.raises(Problem):
        delivery.deliver(project, "desk", [task("a"), NewMessage(message_kind="gossip", body="b")])
    assert not Message.objects.exists()


def test_each_on_its_own_leaves_the_neighbours_alone(project: UUID) -> None:
    outcomes = delivery.deliver_each(project, "desk", [task("a"), task("\0"), task("c")])
    assert [isinstance(each, Problem) for each in outcomes] == [False, True, False]
    assert [row.body for row in claims.drain(project, "desk").messages] == ["a", "c"]


def test_a_delivery_belongs_to_the_transaction_around_it(project: UUID) -> None:
    class Undone(Exception):
        pass

    with pytest.raises(Undone), unit_of_work.transaction():
        delivery.deliver(project, "desk", [task("a")])
        raise Undone
    assert delivery.is_empty(project, "desk")


def test_many_addresses_at_once(project: UUID) -> None:
    messages = [("b", task("1")), ("a", task("2")), ("a b", task("3")), ("b", task("\0")), ("a", task("4"))]
    outcomes = delivery.deliver_each_to(project, messages)
    assert [getattr(each, "seq", None) for each in outcomes] == [1, 1, None, None, 2]


def test_a_thousand_in_one_call_keep_their_order(project: UUID) -> None:
    delivery.deliver(project, "desk", [task(str(n)) for n in range(1200)])
    drained = [row.body for _ in range(2) for row in claims.drain(project, "desk", limit=1000).messages]
    assert drained == [str(n) for n in range(1200)]


def test_the_senders_clock_is_kept_and_decides_nothing(project: UUID) -> None:
    late, early = (datetime(year, 1, 1, tzinfo=UTC) for year in (2030, 2020))
    delivery.deliver(project, "desk", [task("late", created_at=late), task("early", created_at=early)])
    rows = claims.drain(project, "desk").messages
    assert [(row.body, row.created_at) for row in rows] == [("late", late), ("early", early)]


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        ("task", None, "body"),
        ("handoff", None, "body"),
        ("ask", "why?", "body"),
        ("ask", {"question": " "}, "body.question"),
        ("ask", {"question": "why?", "mode": "shout"}, "body.mode"),
        ("reply", {}, "body.answer"),
        ("mcp_request", "x", "body"),
        ("mcp_reply", [], "body"),
        ("completion", {}, "message_kind"),
        ("cancel", {}, "message_kind"),
        ("task", "a\0b", "body"),
        ("task", "\ud800", "body"),
        ("task", {"a": float("nan")}, "body"),
        ("task", {1: 2}, "body"),
        ("task", "x" * 262_143, "body"),
        ("task", "é" * 131_072, "body"),
    ],
)
def test_what_breaks_its_kinds_schema_or_a_limit_is_refused(project: UUID, kind: str, body: Any, field: str) -> None:
    with pytest.raises(Problem) as refusal:
        delivery.deliver(project, "desk", [NewMessage(message_kind=kind, body=body)])
    assert refusal.value.status == 422
    assert [error["field"] for error in refusal.value.extra["errors"]] == [field]
    assert not Message.objects.exists()


@pytest.mark.parametrize("kind", ["task", "handoff"])
@pytest.mark.parametrize("body", ["", 7, 1.5, False, {}, [], ["a", None], {"a": None}])
def test_an_instruction_is_any_json_value(project: UUID, kind: str, body: Any) -> None:
    delivery.deliver(project, "desk", [NewMessage(message_kind=kind, body=body)])
    (message,) = claims.drain(project, "desk").messages
    assert message.body == body


@pytest.mark.parametrize("kind", ["mcp_request", "mcp_reply"])
def test_a_call_of_a_tool_server_and_its_reply_are_objects(project: UUID, kind: str) -> None:
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "read", "arguments": {}}}
    sent = NewMessage(message_kind=kind, body=body, id="call-7", correlation_id="call-7")
    delivery.deliver(project, "desk", [sent])
    (message,) = claims.drain(project, "desk").messages
    assert (message.message_kind, message.body, message.correlation_id) == (kind, body, "call-7")


def test_an_id_of_wardrooms_own_is_nobody_elses(project: UUID) -> None:
    with pytest.raises(Problem) as refusal:
        delivery.deliver(project, "desk", [task("a", id="wardroom:completion:x/1")])
    assert [error["field"] for error in refusal.value.extra["errors"]] == ["id"]
    assert not Message.objects.exists()
    assert delivery.deliver(project, "desk", [task("a", id="wardroom:completion:x/1")], internal=True)


def test_sixty_four_levels_are_taken_and_one_more_is_not(project: UUID) -> None:
    def nested(levels: Any) -> Any:
        body: Any = "core"
        for _ in range(levels):
            body = {"in": body}
        return body

    delivery.deliver(project, "desk", [task(nested(64))])
    with pytest.raises(Problem):
        delivery.deliver(project, "desk", [task(nested(65))])


def test_the_largest_body_is_taken(project: UUID) -> None:
    [delivered] = delivery.deliver(project, "desk", [task("x" * (256 * 1024 - 2))])
    assert not delivered.duplicate


@pytest.mark.parametrize("id", ["", "x" * 257, "a\nb", "a\u200bb", "\0", "\udc00"])
def test_an_id_that_cannot_be_shown_or_stored_is_refused(project: UUID, id: str) -> None:
    with pytest.raises(Problem) as refusal:
        delivery.deliver(project, "desk", [task(id=id)])
    assert refusal.value.status == 422


@pytest.mark.parametrize(
    "address",
    [
        "",
        ".",
        "..",
        "a/b",
        "a b",
        "x" * 201,
        "a\u202eb",
        "session:1",
        "session:a4c885b-bf8e-4614-a24c-e16177b21a0f",
        "session:",
        None,
        7,
    ],
)
def test_what_is_not_an_address_is_refused(project: UUID, address: int | str | None) -> None:
    with pytest.raises(Problem) as refusal:
        delivery.deliver(project, address, [task()])
    assert refusal.value.extra["errors"][0]["field"] == "address"


def test_verbs_may_send_what_others_may_not(project: UUID) -> None:
    completion = NewMessage(message_kind="completion", body={"status": "completed"}, id="c")
    sent = delivery.deliver(project, session_address(uuid4()), [completion], internal=True)
    assert not sent[0].duplicate


def test_counts_say_what_waits(project: UUID) -> None:
    delivery.deliver(project, "desk", [task(str(n)) for n in range(5)])
    claim = claims.drain(project, "desk", limit=3)
    claims.ack(project, "desk", claim.token, [claim.messages[0].message_id])
    found = delivery.counts(project, "desk")
    age = found.pop("oldest_age_secs")
    assert found == {"new": 2, "claimed": 2, "admitted": 1, "quarantined": 0}
    assert 0 <= age < 60
    assert delivery.counts(project, "nowhere")["oldest_age_secs"] is None
