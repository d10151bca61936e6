"""`Mailbox(address)`, the way a program uses it that uses nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from accounts.models import Project
from core.db.clock import clock_at
from core.web.problems import Problem
from mailbox import Mailbox, claims

pytestmark = pytest.mark.django_db


def new_message(id: Any, body: str = "do it") -> dict[str, Any]:
    return {"id": id, "message_kind": "task", "body": body}


def test_the_example_of_its_docstring(project: UUID) -> None:
    desk = Mailbox("desk", consumer="worker-1")
    assert desk.is_empty()
    desk.deliver(new_message("1"), new_message("2"))
    claim = desk.drain(limit=10)
    assert [message.body for message in claim.messages] == ["do it", "do it"]
    assert desk.ack(claim, ["1"]).done == ["1"]
    assert desk.nack(claim, ["2"]).done == ["2"]
    assert desk.ack(desk.drain()).done == ["2"]
    assert desk.is_empty() and desk.counts()["admitted"] == 2


def test_next_acknowledges_and_goes_on_in_order(project: UUID) -> None:
    desk = Mailbox("desk")
    desk.deliver(*(new_message(str(number)) for number in range(5)))
    seen, claim = [], desk.drain(limit=2)
    while claim.messages:
        seen.append([message.message_id for message in claim.messages])
        before, claim = claim, desk.next(claim, limit=2)
        assert claim.acked.done == [message.message_id for message in before.messages]
    assert seen == [["0", "1"], ["2", "3"], ["4"]]
    assert desk.counts() | {"oldest_age_secs": None} == {
        "new": 0,
        "claimed": 0,
        "admitted": 5,
        "quarantined": 0,
        "oldest_age_secs": None,
    }
    assert desk.next(claim).acked.done == []


def test_next_of_a_claim_that_lapsed_says_so_and_claims_its_messages_anew(project: UUID) -> None:
    desk = Mailbox("desk")
    desk.deliver(new_message("1"), new_message("2"))
    with clock_at(datetime.now(UTC) - timedelta(hours=1)):
        dead = claims.drain(project, "desk", 1)
    claim = desk.next(dead)
    assert claim.acked.unknown == ["1"] and claim.acked.done == []
    assert [(message.message_id, message.tries) for message in claim.messages] == [("1", 2), ("2", 1)]


def test_next_acknowledges_what_is_left_of_a_claim(project: UUID) -> None:
    desk = Mailbox("desk")
    desk.deliver(new_message("1"), new_message("2"), new_message("3"))
    claim = desk.drain(limit=3)
    assert desk.ack(claim, ["1"]).done == ["1"] and desk.nack(claim, ["2"]).done == ["2"]
    following = desk.next(claim)
    assert (following.acked.done, following.acked.unknown) == (["1", "3"], ["2"])
    assert [message.message_id for message in following.messages] == ["2"]


def test_next_within_a_transaction_belongs_to_it(project: UUID) -> None:
    desk = Mailbox("desk")
    desk.deliver(new_message("1"), new_message("2"))
    claim = desk.drain(limit=1)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        desk.next(claim)
        raise ZeroDivisionError
    assert desk.counts()["claimed"] == 1 and desk.ack(claim).done == ["1"]


def test_a_whole_claim_says_nothing_about_another_address(project: UUID) -> None:
    desk, shelf = Mailbox("desk"), Mailbox("shelf")
    desk.deliver(new_message("1"))
    claim = desk.drain()
    assert shelf.ack(claim).unknown == ["1"] and shelf.nack(claim).unknown == ["1"]
    assert shelf.next(claim).acked.unknown == ["1"]
    assert desk.ack(claim).done == ["1"]


def test_a_new_life_of_a_consumer_gets_back_what_the_old_one_held(project: UUID) -> None:
    Mailbox("desk").deliver(new_message("1"))
    old = Mailbox("desk", consumer="worker-1").drain()
    new = Mailbox("desk", consumer="worker-1")
    recovered = new.recover(lease_secs=30)
    assert [message.message_id for message in recovered.messages] == ["1"]
    assert new.ack(old).unknown == ["1"]
    assert new.extend(recovered, 60).lease_expires_at > recovered.lease_expires_at
    assert new.ack(str(recovered.token), ["1"]).done == ["1"]


def test_a_delivery_belongs_to_the_callers_own_transaction(project: UUID) -> None:
    desk = Mailbox("desk")
    with transaction.atomic():
        desk.deliver(new_message("1"))
        transaction.set_rollback(True)
    assert desk.is_empty()


def test_refusals_name_what_is_wrong(project: UUID) -> None:
    with pytest.raises(Problem, match="not an address"):
        Mailbox("a b")
    with pytest.raises(Problem) as refusal:
        Mailbox("desk").deliver({"message_kind": "gossip", "id": 7})
    assert [error["field"] for error in refusal.value.extra["errors"]] == ["id", "message_kind"]


def test_projects_are_apart(project: UUID) -> None:
    other = Project.objects.create(slug="other")
    Mailbox("desk", project=other).deliver(new_message("1"))
    assert Mailbox("desk").is_empty() and not Mailbox("desk", project=other.pk).is_empty()


def test_an_empty_claim_settles_nothing(project: UUID) -> None:
    desk = Mailbox("desk")
    nothing = desk.drain()
    assert desk.ack(nothing).done == [] and desk.extend(nothing).token is None


def test_a_refusal_says_in_one_line_what_is_wrong_and_where(project: UUID) -> None:
    desk = Mailbox("desk")
    with pytest.raises(Problem) as refusal:
        desk.deliver({"message_kind": "gossip", "body": "x", "limt": 3})
    assert str(refusal.value).startswith("The message is not valid. ")
    assert "limt: is no field" in str(refusal.value)
    with pytest.raises(Problem, match="message_kind: must be one of ask"):
        desk.deliver({"message_kind": "gossip", "body": "x"})
    with pytest.raises(Problem, match="question: must be a string that is not blank"):
        desk.ask(None)
    assert desk.is_empty()
