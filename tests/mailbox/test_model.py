"""A mailbox against a model of it in dictionaries: whatever the order of calls, both say the same.

The clock is the model's: every operation is told the time, which moves only when the machine moves it.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

import hypothesis
import pytest
from django.db import transaction
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from accounts import projects
from accounts.actors import Actor
from core.db.clock import clock_at
from core.web.problems import Problem
from mailbox import claims, delivery, quarantine
from mailbox.envelope import NewMessage
from mailbox.models import Message, Quarantined, Receipt
from mailbox.store import receipts

ADDRESSES = st.sampled_from(["desk", "shelf"])
CONSUMERS = st.sampled_from(["", "ann", "bob"])
LEASES = st.sampled_from([5.0, 20.0])
TRIES = 3
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Held:
    """The model's state of one message."""

    id: str
    address: str
    body: str
    seq: int
    state: str = "new"
    tries: int = 0
    claim: UUID | None = None
    consumer: str = ""
    until: float = 0.0
    due: float = 0.0
    claims: set[UUID] = field(default_factory=set)


class MailboxMachine(RuleBasedStateMachine):
    """Deliver, drain, ack, nack, extend, expire, recover, sweep, requeue, in any order."""

    ids = Bundle("ids")
    taken = Bundle("taken")
    steps: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        self.around = transaction.atomic()
        self.around.__enter__()
        self.project = projects.default().pk
        self.secs = 0.0
        self.messages: dict[str, Held] = {}
        self.seqs = itertools.count(1)
        self.claims_given: dict[UUID | None, claims.Claim] = {}
        self.first_seen: dict[str, list[int]] = {"desk": [], "shelf": []}

    def teardown(self) -> None:
        if hasattr(self, "around"):
            transaction.set_rollback(True)
            self.around.__exit__(None, None, None)

    @property
    def now(self) -> Any:
        return NOON + timedelta(seconds=self.secs)

    def at(self, address: Any) -> list[Any]:
        return sorted((each for each in self.messages.values() if each.address == address), key=lambda each: each.seq)

    def expired(self, each: Any) -> Any:
        return each.state == "claimed" and each.until <= self.secs

    def dead_letter(self, each: Any) -> None:
        each.state, each.claim = "quarantined", None

    def free(self, address: Any, limit: Any) -> Any:
        free = [
            each
            for each in self.at(address)
            if (each.state == "new" and each.due <= self.secs) or (self.expired(each) and each.tries < TRIES)
        ][:limit]
        self.first_seen[address] += [each.seq for each in free if each.tries == 0]
        return free

    def hold(self, wanted: Any, claim: Any, consumer: Any, lease: Any) -> Any:
        """The model's side of a claim."""
        assert [row.message_id for row in claim.messages] == [each.id for each in wanted]
        self.claims_given[claim.token] = claim
        for each, row in zip(wanted, claim.messages, strict=True):
            each.state, each.claim, each.consumer, each.until = "claimed", claim.token, consumer, self.secs + lease
            each.tries += 1
            each.claims.add(claim.token)
            assert (row.body, row.tries) == (each.body, each.tries)
        return (claim.token, [each.id for each in wanted]) if wanted else multiple()

    @rule(target=ids, address=ADDRESSES, body=st.sampled_from(["a", "b"]), new=st.integers(0, 25))
    def deliver(self, address: Any, body: Any, new: Any) -> Any:
        id = f"m{new}"
        known = self.messages.get(id)
        message = NewMessage(id=id, message_kind="task", body=body)
        if known and (known.address, known.body) != (address, body):
            with pytest.raises(Problem, match="another message"), clock_at(self.now):
                delivery.deliver(self.project, address, [message])
            return multiple()
        with clock_at(self.now):
            [accepted] = delivery.deliver(self.project, address, [message])
        assert accepted.duplicate == bool(known)
        if not known:
            self.messages[id] = Held(id, address, body, next(self.seqs))
        return id

    @rule(target=taken, address=ADDRESSES, limit=st.integers(1, 4), lease=LEASES, consumer=CONSUMERS)
    def drain(self, address: Any, limit: Any, lease: Any, consumer: Any) -> Any:
        free = self.free(address, limit)
        with clock_at(self.now):
            claim = claims.drain(self.project, address, limit, lease, consumer)
        if len(free) < limit:
            self.put_away_spent(address)
        return self.hold(free, claim, consumer, lease)

    @rule(target=taken, address=ADDRESSES, lease=LEASES, consumer=CONSUMERS)
    def recover(self, address: Any, lease: Any, consumer: Any) -> Any:
        mine = [
            each
            for each in self.at(address)
            if self.expired(each) or (each.state == "claimed" and consumer and each.consumer == consumer)
        ]
        with clock_at(self.now):
            claim = claims.recover(self.project, address, lease, consumer)
        for each in mine:
            if each.tries >= TRIES:
                self.dead_letter(each)
        return self.hold([each for each in mine if each.state == "claimed"], claim, consumer, lease)

    def held_by(self, address: Any, token: Any, ids: Any) -> list[Any]:
        named = [self.messages[id] for id in ids]
        return [
            each
            for each in named
            if each.address == address and each.state == "claimed" and each.claim == token and each.until > self.secs
        ]

    @rule(address=ADDRESSES, one=taken, other=taken)
    def ack(self, address: Any, one: Any, other: Any) -> None:
        token, ids = one[0], [*one[1], *other[1]]
        wanted = self.held_by(address, token, ids)
        before = [
            self.messages[id]
            for id in ids
            if self.messages[id].state == "admitted"
            and self.messages[id].claim == token
            and self.messages[id].address == address
        ]
        with clock_at(self.now):
            settled = claims.ack(self.project, address, token, ids)
        assert set(settled.done) == {each.id for each in wanted + before}
        assert set(settled.done) | set(settled.unknown) == set(ids)
        for each in wanted:
            each.state = "admitted"

    @rule(address=ADDRESSES, one=taken, lease=LEASES, limit=st.integers(1, 4), target=taken)
    def ack_and_claim(self, address: Any, one: Any, lease: Any, limit: Any) -> Any:
        held = {each.message_id: each for each in self.claims_given[one[0]].messages}
        acked = [self.messages[id] for id in held if self.messages[id].address == address]
        wanted = self.held_by(address, one[0], held)
        before = [each for each in acked if each.state == "admitted" and each.claim == one[0]]
        with clock_at(self.now):
            claim = claims.ack_and_claim(self.project, address, self.claims_given[one[0]], limit, lease)
        assert set(claim.acked.done) == {each.id for each in wanted + before}
        for each in wanted:
            each.state = "admitted"
        free = self.free(address, limit)
        if len(free) < limit:
            self.put_away_spent(address)
        return self.hold(free, claim, "", lease)

    @rule(address=ADDRESSES, one=taken, delay=st.sampled_from([0, 7]))
    def nack(self, address: Any, one: Any, delay: Any) -> None:
        wanted = self.held_by(address, *one)
        with clock_at(self.now):
            settled = claims.nack(self.project, address, one[0], one[1], delay)
        assert set(settled.done) == {each.id for each in wanted}
        for each in wanted:
            if each.tries >= TRIES:
                self.dead_letter(each)
            else:
                each.state, each.claim, each.due = "new", None, self.secs + delay

    @rule(address=ADDRESSES, one=taken, lease=LEASES)
    def extend(self, address: Any, one: Any, lease: Any) -> None:
        wanted = [
            each
            for each in self.at(address)
            if each.state == "claimed" and each.claim == one[0] and each.until > self.secs
        ]
        with clock_at(self.now):
            held = claims.extend(self.project, address, one[0], lease)
        assert [row.message_id for row in held.messages] == [each.id for each in wanted]
        for each in wanted:
            each.until = self.secs + lease

    @rule(secs=st.sampled_from([1, 4, 6, 21]))
    def time_passes(self, secs: Any) -> None:
        self.secs += secs

    @rule()
    def sweep(self) -> None:
        with clock_at(self.now):
            claims.expire_due()
        for address in self.first_seen:
            self.put_away_spent(address)
        for each in self.messages.values():
            if self.expired(each):
                each.state, each.claim, each.due = "new", None, 0.0

    def put_away_spent(self, address: Any) -> None:
        for each in self.at(address):
            if self.expired(each) and each.tries >= TRIES:
                self.dead_letter(each)

    @rule(id=ids, mended=st.booleans(), again=st.booleans())
    def requeue(self, id: Any, mended: Any, again: Any) -> None:
        each = self.messages[id]
        if each.state != "quarantined":
            return
        row = Quarantined.objects.get(message_id=id, state="waiting")
        raw = json.dumps(json.loads(bytes(row.raw)) | {"body": "b"}).encode() if mended else None
        for _ in range(1 + again):
            with clock_at(self.now):
                quarantine.requeue(row.pk, Actor.system("machine"), raw)
        each.state, each.tries, each.due = "new", 0, 0.0
        each.body = "b" if mended else each.body

    @invariant()
    def both_count_the_same(self) -> None:
        if not hasattr(self, "around"):
            return
        for address in self.first_seen:
            mine = self.at(address)
            free = [each for each in mine if each.state == "new" or self.expired(each)]
            with clock_at(self.now):
                found = delivery.counts(self.project, address)
            found.pop("oldest_age_secs")
            assert found == {
                "new": len(free),
                "claimed": sum(each.state == "claimed" for each in mine) - sum(map(self.expired, mine)),
                "admitted": sum(each.state == "admitted" for each in mine),
                "quarantined": sum(each.state == "quarantined" for each in mine),
            }

    @invariant()
    def it_walks(self) -> None:
        MailboxMachine.steps += 1

    @invariant()
    def each_is_where_the_model_has_it(self) -> None:
        for address in getattr(self, "first_seen", {}):
            rows = list(Message.objects.filter(address__name=address).placed())
            receipts.attach(rows)
            assert {row.message_id: (row.state, row.tries) for row in rows} == {
                each.id: (each.state, each.tries) for each in self.at(address)
            }
            # Once admitted, proven once; all else not at all.
            numbers = Receipt.objects.filter(address__name=address).values_list("taken", flat=True)
            assert sorted(int(seq) for taken in numbers for seq in taken) == sorted(
                row.seq for row in rows if row.state == "admitted"
            )

    @invariant()
    def first_deliveries_are_in_order(self) -> None:
        for seen in getattr(self, "first_seen", {}).values():
            kept = [seq for position, seq in enumerate(seen) if seq not in seen[:position]]
            assert kept == sorted(kept)


@pytest.mark.django_db
@pytest.mark.timeout(300)
def test_a_mailbox_behaves_as_its_model(timings: Any) -> None:
    timings(claim_tries=TRIES)
    # Many random walks; the first on which the two differ is shown, made as short as it can be.
    MailboxMachine.steps = 0
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    effort = hypothesis.settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=slow)
    run_state_machine_as_test(MailboxMachine, settings=effort)
    assert MailboxMachine.steps > 40, "the walks went nowhere"
