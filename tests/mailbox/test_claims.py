"""Leases by the database's clock: the holder, the end, and no effect of a dead claim."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.actors import Actor
from core.db.clock import clock_at
from core.web.problems import Problem
from ledger.models import Event
from mailbox import Mailbox, claims, delivery, quarantine
from mailbox.addresses import session_address
from mailbox.models import Message, Quarantined, Waiting
from tests.mailbox.conftest import task

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(secs: Any) -> Any:
    return NOON + timedelta(seconds=secs)


def fill(project: Any, count: int = 3, address: str = "desk") -> list[Any]:
    with clock_at(NOON):
        return [each.id for each in delivery.deliver(project, address, [task(str(n)) for n in range(count)])]


def drain(project: Any, now: datetime = NOON, **more: Any) -> claims.Claim:
    with clock_at(now):
        return claims.drain(project, "desk", **{"lease_secs": 60} | more)


def bodies(claim: Any) -> list[Any]:
    return [row.body for row in claim.messages]


def test_a_drain_takes_the_oldest_first_and_no_more_than_asked(project: UUID) -> None:
    fill(project, 5)
    assert bodies(drain(project, limit=2)) == ["0", "1"]
    assert bodies(drain(project, limit=2)) == ["2", "3"]


def test_an_empty_mailbox_gives_no_claim(project: UUID) -> None:
    assert drain(project).token is None
    assert claims.drain(project, "never-used").messages == []


def test_a_claim_ends_at_the_lease_by_the_databases_clock(project: UUID) -> None:
    fill(project)
    claim = drain(project, lease_secs=30)
    assert claim.lease_expires_at == after(30)
    with clock_at(after(29.9)):
        now = claims.drain(project, "desk")
    assert now.messages == []
    with clock_at(after(30.1)):
        assert bodies(claims.drain(project, "desk")) == ["0", "1", "2"]


def test_without_a_test_clock_the_lease_is_counted_from_the_databases_own(project: UUID) -> None:
    fill(project)
    claim = claims.drain(project, "desk", lease_secs=60)
    assert 50 < (claim.lease_expires_at - datetime.now(UTC)).total_seconds() < 70
    assert claims.ack(project, "desk", claim.token, [claim.messages[0].message_id]).unknown == []


def test_what_is_acknowledged_is_gone(project: UUID) -> None:
    ids = fill(project)
    claim = drain(project)
    with clock_at(after(1)):
        assert claims.ack(project, "desk", claim.token, ids[:2]).done == ids[:2]
    with clock_at(after(61)):
        assert bodies(claims.drain(project, "desk")) == ["2"]


def test_an_ack_said_again_is_true_again_even_after_the_lease(project: UUID) -> None:
    ids = fill(project)
    claim = drain(project)
    for when in (1, 2, 3600):
        with clock_at(after(when)):
            assert claims.ack(project, "desk", claim.token, ids) == claims.Settled(ids, [])


def test_an_ack_after_the_lease_is_a_no_op_that_says_so(project: UUID) -> None:
    ids = fill(project)
    claim = drain(project, lease_secs=30)
    with clock_at(after(31)):
        assert claims.ack(project, "desk", claim.token, ids) == claims.Settled([], ids)
    assert not Message.objects.in_state("admitted").exists()


def test_an_ack_by_a_claim_that_another_replaced_changes_nothing(project: UUID) -> None:
    ids = fill(project)
    old = drain(project, lease_secs=30)
    with clock_at(after(31)):
        new = claims.drain(project, "desk", lease_secs=60)
    with clock_at(after(32)):
        assert claims.ack(project, "desk", old.token, ids).unknown == ids
        assert claims.ack(project, "desk", new.token, ids).done == ids


def test_an_ack_names_what_the_claim_does_not_hold(project: UUID) -> None:
    ids = fill(project)
    claim = drain(project, limit=1)
    with clock_at(after(1)):
        assert claims.ack(project, "desk", claim.token, [*ids, "stranger"]) == claims.Settled(
            ids[:1], [*ids[1:], "stranger"]
        )


@pytest.mark.parametrize("token", ["", "nonsense", str(uuid4())])
def test_a_token_that_never_was_changes_nothing(project: UUID, token: Any) -> None:
    ids = fill(project)
    drain(project)
    with clock_at(after(1)):
        assert claims.ack(project, "desk", token, ids).unknown == ids
        assert claims.nack(project, "desk", token, ids).unknown == ids
        assert claims.extend(project, "desk", token).token is None


def test_a_claim_of_one_address_says_nothing_about_another(project: UUID) -> None:
    fill(project)
    other = fill(project, address="shelf")
    claim = drain(project)
    with clock_at(after(1)):
        assert claims.ack(project, "shelf", claim.token, other).unknown == other


def test_another_project_sees_and_settles_nothing(project: UUID, foreign: UUID) -> None:
    ids = fill(project)
    claim = drain(project)
    with clock_at(after(99)):
        assert claims.drain(foreign, "desk").messages == []
        assert claims.recover(foreign, "desk").messages == []
    with clock_at(after(1)):
        assert claims.ack(foreign, "desk", claim.token, ids).unknown == ids
        assert claims.nack(foreign, "desk", claim.token, ids).unknown == ids


def test_what_is_given_back_comes_again_in_its_place(project: UUID) -> None:
    ids = fill(project)
    claim = drain(project)
    with clock_at(after(1)):
        assert claims.nack(project, "desk", claim.token, ids[:1]).done == ids[:1]
    with clock_at(after(2)):
        assert bodies(claims.drain(project, "desk")) == ["0"]
        assert claims.ack(project, "desk", claim.token, ids[:1]).unknown == ids[:1]


def test_a_delay_lets_others_pass(project: UUID) -> None:
    ids = fill(project, 2)
    claim = drain(project, limit=1)
    with clock_at(after(1)):
        claims.nack(project, "desk", claim.token, ids[:1], delay_secs=10)
    with clock_at(after(2)):
        assert bodies(claims.drain(project, "desk")) == ["1"]
    with clock_at(after(10.9)):
        assert bodies(claims.drain(project, "desk")) == []
    with clock_at(after(11.1)):
        assert bodies(claims.drain(project, "desk")) == ["0"]


def test_an_extended_lease_counts_from_now(project: UUID) -> None:
    ids = fill(project)
    claim = drain(project, lease_secs=30)
    with clock_at(after(20)):
        assert claims.extend(project, "desk", claim.token, 60).lease_expires_at == after(80)
    with clock_at(after(79)):
        assert claims.ack(project, "desk", claim.token, ids).done == ids


def test_a_lapsed_claim_cannot_be_extended(project: UUID) -> None:
    fill(project)
    claim = drain(project, lease_secs=30)
    with clock_at(after(31)):
        assert claims.extend(project, "desk", claim.token, 60).token is None
    with clock_at(after(32)):
        assert len(claims.drain(project, "desk").messages) == 3


def test_recover_takes_the_same_consumers_own_and_kills_its_old_claim(project: UUID) -> None:
    ids = fill(project)
    old = drain(project, consumer="me", limit=2)
    drain(project, consumer="you")
    with clock_at(after(1)):
        mine = claims.recover(project, "desk", 60, "me")
    assert bodies(mine) == ["0", "1"]
    with clock_at(after(2)):
        assert claims.ack(project, "desk", old.token, ids[:2]).unknown == ids[:2]
        assert claims.ack(project, "desk", mine.token, ids[:2]).done == ids[:2]


def test_recover_takes_what_lapsed_whoever_held_it(project: UUID) -> None:
    fill(project)
    drain(project, consumer="you", lease_secs=30)
    with clock_at(after(29)):
        assert claims.recover(project, "desk", consumer="me").messages == []
    with clock_at(after(31)):
        assert len(claims.recover(project, "desk", consumer="me").messages) == 3


def test_nobody_in_particular_recovers_only_what_lapsed(project: UUID) -> None:
    fill(project)
    drain(project, lease_secs=30)
    with clock_at(after(1)):
        assert claims.recover(project, "desk").messages == []


def test_the_sweep_brings_lapsed_claims_back_and_leaves_live_ones(project: UUID) -> None:
    fill(project)
    drain(project, limit=1, lease_secs=30)
    live = drain(project, limit=1, lease_secs=90)
    with clock_at(after(31)):
        assert claims.expire_due() == 1
    assert set(Waiting.objects.filter(state="claimed").values_list("claim", flat=True)) == {live.token}
    with clock_at(after(32)):
        assert claims.expire_due() == 0


def test_after_five_tries_a_message_is_quarantined_and_the_address_goes_on(project: UUID) -> None:
    ids = fill(project, 2)
    for turn in range(5):
        with clock_at(after(turn * 20)):
            claim = claims.drain(project, "desk", limit=1, lease_secs=10)
        assert bodies(claim) == ["0"]
    with clock_at(after(100)):
        assert bodies(claims.drain(project, "desk", lease_secs=10)) == ["1"]
    row = Quarantined.objects.get()
    assert (row.message_id, row.address, row.accepted.state) == (ids[0], "desk", "quarantined")
    assert "5 times" in row.reason
    with clock_at(after(100)):
        assert delivery.counts(project, "desk")["quarantined"] == 1
    assert Event.objects.get(type="message_quarantined").payload["message_id"] == ids[0]


@pytest.mark.parametrize("way", ["nack", "recover", "expire"])
def test_every_way_back_counts_the_tries(project: UUID, way: str) -> None:
    ids = fill(project, 1)
    claim = drain(project, consumer="me")
    for turn in range(1, 5):
        if way == "nack":
            with clock_at(after(turn)):
                claims.nack(project, "desk", claim.token, ids)
                claim = claims.drain(project, "desk", consumer="me")
        elif way == "recover":
            with clock_at(after(turn)):
                claim = claims.recover(project, "desk", consumer="me")
        else:
            with clock_at(after(turn * 100)):
                claims.expire_due()
                claim = claims.drain(project, "desk")
        assert len(claim.messages) == 1
    if way == "nack":
        with clock_at(after(9)):
            assert claims.nack(project, "desk", claim.token, ids).done == ids
    elif way == "recover":
        with clock_at(after(9)):
            assert claims.recover(project, "desk", consumer="me").messages == []
    else:
        with clock_at(after(900)):
            claims.expire_due()
    assert Message.objects.get().state == "quarantined"
    assert Quarantined.objects.count() == 1


def test_a_sessions_mailbox_is_not_drained(project: UUID) -> None:
    address = session_address(uuid4())
    delivery.deliver(project, address, [task()])
    calls = [
        lambda: claims.drain(project, address),
        lambda: claims.recover(project, address),
        lambda: claims.ack(project, address, uuid4(), ["x"]),
        lambda: claims.nack(project, address, uuid4(), ["x"]),
        lambda: claims.extend(project, address, uuid4()),
    ]
    for call in calls:
        with pytest.raises(Problem) as refusal:
            call()
        assert refusal.value.status == 403
    assert Message.objects.get().state == "new"


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        (lambda desk, claim: desk.drain(0), "limit"),
        (lambda desk, claim: desk.next(claim, -1), "limit"),
        (lambda desk, claim: desk.drain(2.5), "limit"),
        (lambda desk, claim: desk.drain("3"), "limit"),
        (lambda desk, claim: desk.drain(lease_secs=0), "lease_secs"),
        (lambda desk, claim: desk.drain(lease_secs="5"), "lease_secs"),
        (lambda desk, claim: desk.drain(lease_secs=12 * 3600 + 1), "lease_secs"),
        (lambda desk, claim: desk.drain(lease_secs=math.inf), "lease_secs"),
        (lambda desk, claim: desk.next(claim, lease_secs=-1), "lease_secs"),
        (lambda desk, claim: desk.extend(claim, math.nan), "lease_secs"),
        (lambda desk, claim: desk.recover(1e30), "lease_secs"),
        (lambda desk, claim: desk.nack(claim, delay_secs=-5), "delay_secs"),
        (lambda desk, claim: Mailbox("desk", consumer="a\0b"), "consumer"),
        (lambda desk, claim: Mailbox("desk", consumer="a\ud800b"), "consumer"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_and_changes_nothing(project: UUID, operation: Any, field: str) -> None:
    fill(project)
    desk = Mailbox("desk", consumer="me")
    claim = desk.drain(2)
    with pytest.raises(Problem) as refusal:
        operation(desk, claim)
    assert [error["field"] for error in refusal.value.extra["errors"]] == [field]
    assert desk.ack(claim).unknown == []


@pytest.mark.parametrize("odd", ["", "a\0b", "\ud800", "x" * 5000])
def test_an_id_that_can_be_nobodys_is_unknown(project: UUID, odd: str) -> None:
    fill(project)
    claim = claims.drain(project, "desk")
    assert claims.ack(project, "desk", claim.token, [odd]).unknown == [odd]
    assert claims.nack(project, "desk", claim, [odd]).unknown == [odd]


@pytest.fixture
def small_claims(timings: Any) -> None:
    timings(claim_bytes=100)


def put(project: Any, *sizes: Any) -> None:
    delivery.deliver(project, "desk", [task("x" * (size - 2), id=f"{n}") for n, size in enumerate(sizes)])


def ids(claim: Any) -> list[Any]:
    return [row.message_id for row in claim.messages]


def test_a_claim_ends_at_the_message_that_reaches_its_bytes(project: UUID, small_claims: Any) -> None:
    put(project, 60, 39, 500, 3, 300, 100, 50, 49, 3)
    taken = []
    while claim := claims.drain(project, "desk").messages:
        taken.append([row.message_id for row in claim])
    assert taken == [["0", "1", "2"], ["3", "4"], ["5"], ["6", "7", "8"]]


def test_a_limit_of_messages_holds_beside_that_of_bytes(project: UUID, small_claims: Any) -> None:
    put(project, 10, 10, 10, 200)
    assert [ids(claims.drain(project, "desk", limit=2)) for _ in range(2)] == [["0", "1"], ["2", "3"]]


def test_the_claim_that_follows_another_ends_at_its_bytes_too(project: UUID, small_claims: Any) -> None:
    put(project, 120, 50, 60, 10)
    claim = claims.drain(project, "desk")
    following = claims.ack_and_claim(project, "desk", claim)
    assert (ids(claim), following.acked.done, ids(following)) == (["0"], ["0"], ["1", "2"])


def test_what_a_recovery_has_no_room_for_is_free_for_the_next_drain(project: UUID, small_claims: Any) -> None:
    put(project, 70, 70, 70, 70)
    first, second = (claims.drain(project, "desk", consumer="me") for _ in range(2))
    recovered = claims.recover(project, "desk", consumer="me")
    assert ids(recovered) == ["0", "1"]
    assert claims.ack(project, "desk", first).unknown == ["0", "1"]
    assert claims.ack(project, "desk", second).unknown == ["2", "3"]
    assert ids(claims.drain(project, "desk")) == ["2", "3"]
    assert claims.ack(project, "desk", recovered).done == ["0", "1"]


def test_what_comes_back_from_quarantine_counts_with_its_bytes(project: UUID, small_claims: Any) -> None:
    put(project, 150, 10)
    for _ in range(5):
        claims.nack(project, "desk", claims.drain(project, "desk", limit=1), ["0"])
    quarantine.requeue(Quarantined.objects.get().pk, Actor.system("tests"))
    assert ids(claims.drain(project, "desk")) == ["0"]


def test_a_row_that_somebody_else_broke_is_handed_out_as_it_is_and_stops_no_other(project: UUID) -> None:
    put(project, 10, 10, 10)
    Message.objects.filter(message_id="1").update(body_text="{broken")
    drained = claims.drain(project, "desk", limit=3)
    assert [row.body for row in drained.messages] == ["x" * 8, "{broken", "x" * 8]
    for _ in range(5):
        claims.nack(project, "desk", drained, ["1"])
        drained = claims.drain(project, "desk", limit=3)
    assert b"{broken" in bytes(Quarantined.objects.get(message_id="1").raw)


def test_what_cannot_be_put_away_stops_no_drain(project: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(project, 2)
    for turn in range(5):
        with clock_at(after(2 * turn)):
            claims.drain(project, "desk", limit=1, lease_secs=1)

    def failing(*_: Any, **__: Any) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(quarantine, "dead_letter", failing)
    assert bodies(drain(project, now=after(99))) == ["1"]
    assert Waiting.objects.count() == 2
