"""Any order of asking, answering, expiring, withdrawing, consuming and ending, held against a small model."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import attempt_clock, consumption, decisions, requests
from approvals.canonical_action import Ask
from approvals.decision_validation import Answer
from approvals.models import Approval, Subject
from core.db.clock import clock_at
from core.web.problems import Problem
from ledger.audit import chain
from tests.approvals.conftest import NOON, child


@dataclass
class Expected:
    """The model's state of one approval."""

    attempt: int
    via: str
    deadline: float | None
    status: str = "pending"
    claim: str | None = None


class Life(RuleBasedStateMachine):
    """One session: its attempts come and go, its clock is set by hand, and everybody acts in any order."""

    project: ClassVar[Any] = None
    people: list[Actor] = []

    def __init__(self) -> None:
        super().__init__()
        self.session, self.attempt, self.clock = uuid4(), 1, 0.0
        self.asked: dict = {}
        self.ended: set[int] = set()
        self.names = itertools.count(1)
        attempt_clock.open(self.project.pk, self.session, 1)

    @property
    def now(self) -> Any:
        return NOON + timedelta(seconds=self.clock)

    def some(self, data: Any) -> Any:
        return list(self.asked)[data.draw(st.integers(0, len(self.asked) - 1), label="approval")]

    @rule(secs=st.integers(1, 20))
    def time_passes(self, secs: Any) -> None:
        self.clock += secs

    @rule(via=st.sampled_from(["connection", "rest"]), expires=st.none() | st.integers(1, 30))
    def ask(self, via: Any, expires: Any) -> None:
        words = {"request_id": f"r-{next(self.names)}", "tool_name": "t", "permission": "p", "resource": ""}
        ask = Ask(session=self.session, attempt=self.attempt, expires_in_secs=expires, **words)
        with clock_at(self.now):
            approval, created = requests.ask(self.project.pk, ask, actor=child(self.session, self.attempt), via=via)
        assert created
        deadline = None if expires is None else self.clock + expires
        self.asked[approval.id] = Expected(self.attempt, via, deadline)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), decision=st.sampled_from(["approve", "deny", "edit"]), person=st.integers(0, 1))
    def decide(self, data: Any, decision: Any, person: int) -> None:
        approval_id = self.some(data)
        expected, row = self.asked[approval_id], Approval.objects.get(id=approval_id)
        arguments = {"n": self.clock} if decision == "edit" else None
        answer = Answer(decision=decision, digest=row.digest, version=row.version, arguments=arguments)
        try:
            with clock_at(self.now):
                decisions.decide(self.project.pk, approval_id, answer, self.people[person], "rest")
            said = "decided"
        except Problem as refusal:
            said = refusal.type
        if expected.status == "pending" and self.is_late(expected):
            expected.status = "expired"
        if expected.status == "pending":
            assert said == "decided"
            expected.status = "denied" if decision == "deny" else "approved"
        elif expected.status == "expired":
            assert said == "expired"
        else:
            by = row.decided_by or {}
            repeated = (by.get("user_id"), row.decision_kind) == (self.people[person].user_id, decision)
            same = repeated and (decision != "edit" or row.arguments == arguments)
            assert said == ("decided" if same else "already-decided")

    def is_late(self, expected: Any) -> Any:
        return expected.deadline is not None and expected.deadline <= self.clock

    @rule()
    def expire(self) -> None:
        due = [one for one in self.asked.values() if one.status == "pending" and self.is_late(one)]
        with clock_at(self.now):
            assert decisions.expire_due() == len(due)
        for one in due:
            one.status = "expired"

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def withdraw(self, data: Any) -> None:
        approval_id = self.some(data)
        expected = self.asked[approval_id]
        try:
            with clock_at(self.now):
                decisions.withdraw(self.project.pk, approval_id, Actor.system("test"))
            assert expected.status in ("pending", "cancelled")
            expected.status = "cancelled"
        except Problem as refusal:
            assert refusal.type == ("expired" if expected.status == "expired" else "already-decided")
            assert expected.status != "pending"

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), claim=st.sampled_from(["a", "b"]), stale=st.booleans())
    def consume(self, data: Any, claim: Any, stale: Any) -> None:
        approval_id = self.some(data)
        expected, row = self.asked[approval_id], Approval.objects.get(id=approval_id)
        digest = "0" * 64 if stale else row.digest
        try:
            with clock_at(self.now):
                consumption.consume(self.project.pk, approval_id, digest=digest, claim=claim, actor=Actor.system("t"))
            said = "yours"
        except Problem as refusal:
            said = refusal.type
        assert said == self.expected_of_consume(expected, claim, stale)
        if said == "yours":
            expected.claim = claim

    def expected_of_consume(self, expected: Any, claim: Any, stale: Any) -> Any:
        if stale:
            return "digest-mismatch"
        if expected.status != "approved":
            return "not-approved"
        if expected.claim is not None:
            return "yours" if expected.claim == claim else "consumed"
        return "not-running" if expected.attempt in self.ended else "yours"

    @rule()
    def end_the_attempt(self) -> None:
        with clock_at(self.now):
            attempt_clock.settle(self.session, self.attempt)
        for one in self.asked.values():
            if one.attempt == self.attempt and one.status == "pending":
                one.status = "cancelled"
        self.ended.add(self.attempt)
        self.attempt += 1
        attempt_clock.open(self.project.pk, self.session, self.attempt)

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        rows = Approval.objects.filter(session=self.session)
        assert {row.id: row.status for row in rows} == {id: one.status for id, one in self.asked.items()}
        assert {row.id: row.consume_claim for row in rows} == {id: one.claim for id, one in self.asked.items()}

    @invariant()
    def the_clock_counts_what_is_pending(self) -> None:
        for subject in Subject.objects.filter(session=self.session):
            mine = [one for one in self.asked.values() if one.attempt == subject.attempt and one.status == "pending"]
            assert subject.pending == sum(one.via == "connection" for one in mine)
            assert subject.pending_aside == sum(one.via == "rest" for one in mine)
            assert (subject.waiting_since is None) is (subject.pending == 0)
            assert subject.waited.total_seconds() <= self.clock

    def teardown(self) -> None:
        with clock_at(self.now):
            attempt_clock.settle(self.session, self.attempt)  # Leave the next life nothing to expire.
        assert chain.verify(self.project.pk) is None


@pytest.mark.django_db
def test_every_order_of_events_ends_as_the_model_says(project: Project, alice: User, bob: User) -> None:
    Life.project, Life.people = project, [Actor.of_user(alice), Actor.of_user(bob)]
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=20,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        ),
    )
    assert Approval.objects.exists()
