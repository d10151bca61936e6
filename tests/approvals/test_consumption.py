"""The approved action runs, at most once, by the holder of the claim."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import consumption, decisions, schemas
from approvals.decision_validation import Answer
from approvals.models import Approval
from approvals.outcomes import unknown
from core.web.problems import Problem
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import Asked, child

pytestmark = pytest.mark.django_db


@pytest.fixture
def consume(session: UUID) -> Any:
    def run(approval: Any, **said: Any) -> Any:
        said = {"digest": approval.digest, "claim": "claim", **said}
        return consumption.consume_request(session, 1, approval.request_id, **said)

    return run


def type_of(call: str, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(Problem) as refusal:
        call(*args, **kwargs)
    return refusal.value.type


def test_it_is_consumed_once_and_the_same_claim_is_told_so_again(approved: Asked, consume: Any) -> None:
    approval = approved()
    first, again = consume(approval), consume(approval)
    assert first.consumed_at == again.consumed_at
    assert type_of(consume, approval, claim="another") == "consumed"
    assert type_of(consume, approval, claim=None) == "consumed"
    assert Event.objects.filter(type="approval_consumed").count() == 1
    assert AuditEntry.objects.filter(action="approval.consumed").count() == 1


def test_the_digest_may_be_in_upper_case(approved: Asked, consume: Any) -> None:
    approval = approved()
    said = approval.digest.upper()
    assert said != approval.digest
    assert consume(approval, digest=said).consumed_at == consume(approval, digest=said).consumed_at


def test_without_a_claim_there_is_no_second_telling(approved: Asked, consume: Any) -> None:
    approval = approved()
    assert consume(approval, claim=None).consumed_at
    assert type_of(consume, approval, claim=None) == "consumed"


def test_only_the_action_that_was_decided_on_runs(asked: Asked, consume: Any, project: Project, alice: User) -> None:
    approval = asked()
    answer = Answer(decision="edit", digest=approval.digest, arguments={"command": "ls"})
    decisions.decide(project.pk, approval.id, answer, Actor.of_user(alice), "admin")
    assert type_of(consume, approval) == "digest-mismatch"
    approval.refresh_from_db()
    assert consume(approval).consumed_at


def test_what_was_not_approved_never_runs(asked: Asked, consume: Any, project: Project, alice: User) -> None:
    pending, denied = asked(), asked()
    decisions.decide(project.pk, denied.id, Answer(decision="deny"), Actor.of_user(alice), "admin")
    assert type_of(consume, pending) == "not-approved"
    assert type_of(consume, denied) == "not-approved"
    assert not Approval.objects.filter(consumed_at__isnull=False).exists()


def test_an_answer_to_a_question_lets_nothing_run(asked: Asked, consume: Any, project: Project, alice: User) -> None:
    """An asker that dresses an action as a question gets words for it, and no execution."""
    question = asked(allowed_decisions=["respond"], question="Which colour?")
    answer = Answer(decision="respond", message="no, do not")
    answered = decisions.decide(project.pk, question.id, answer, Actor.of_user(alice), "admin")
    assert type_of(consume, answered) == "not-approved"
    assert not Approval.objects.filter(consumed_at__isnull=False).exists()
    frame = schemas.reply_frame(answered)
    assert (frame["message"], frame["arguments"]) == ("no, do not", None)


@pytest.mark.parametrize("wrong", [{"digest": None}, {"digest": 5}, {"claim": ""}, {"claim": 5}, {"claim": "x" * 300}])
def test_a_consume_must_name_the_action(approved: Asked, consume: Any, wrong: Any) -> None:
    assert type_of(consume, approved(), **wrong) == "invalid"


def test_an_answer_is_owed_until_it_is_acknowledged(approved: Asked, session: UUID) -> None:
    approval = approved()
    assert consumption.unacknowledged(session, 1) == [approval]
    consumption.acknowledge(session, 1, approval.request_id)
    consumption.acknowledge(session, 1, approval.request_id)
    assert consumption.unacknowledged(session, 1) == []
    assert Event.objects.filter(type="approval_delivered").count() == 1


def test_a_process_that_lost_its_run_is_told_everything_that_has_not_run(
    approved: Asked, consume: Any, session: UUID
) -> None:
    received, consumed = approved(), approved()
    consumption.acknowledge(session, 1, received.request_id)
    consume(consumed)
    assert consumption.unacknowledged(session, 1, include_unconsumed=True) == [received]


def test_only_what_was_asked_over_the_connection_is_answered_over_the_connection(
    approved: Asked, session: UUID
) -> None:
    approved(via="rest")
    assert consumption.unacknowledged(session, 1) == []


def test_nothing_is_acknowledged_before_there_is_an_answer(asked: Asked, session: UUID) -> None:
    approval = asked()
    assert type_of(consumption.acknowledge, session, 1, approval.request_id) == "conflict"
    assert type_of(consumption.acknowledge, session, 1, "unknown") == "not-found"


def test_a_look_by_another_delivers_nothing_and_the_askers_does(approved: Asked, session: UUID, alice: User) -> None:
    approval = approved()
    consumption.hand_over(approval, Actor.of_user(alice))
    assert Approval.objects.get().delivered_at is None
    consumption.hand_over(approval, child(session))
    assert Approval.objects.get().delivered_at


def test_the_frame_says_approved_for_nothing_but_approved(
    asked: Asked, approved: Asked, project: Project, alice: User, session: UUID
) -> None:
    denied, withdrawn = asked(), asked()
    decisions.decide(project.pk, denied.id, Answer(decision="deny", message="no"), Actor.of_user(alice), "admin")
    decisions.withdraw_request(session, 1, withdrawn.request_id, child(session))
    approved()
    frames = [schemas.reply_frame(row) for row in Approval.objects.order_by("status")]
    assert [(frame["decision"], frame["approved"]) for frame in frames] == [
        ("approved", True),
        ("cancelled", False),
        ("denied", False),
    ]
    assert frames[0]["arguments"] == {"command": "ls -l", "folder": "/tmp"}
    assert frames[1]["arguments"] is None
    assert (frames[2]["message"], frames[2]["arguments"]) == ("no", None)


def test_an_unknown_outcome_is_recorded_once(approved: Asked, session: UUID) -> None:
    approval = approved()
    assert unknown.note(session, "another", "") is False
    assert unknown.note(session, approval.request_id, "the process died") is True
    approval.refresh_from_db()
    first = approval.outcome_unknown_at
    assert unknown.note(session, approval.request_id, "again") is False
    approval.refresh_from_db()
    assert approval.outcome_unknown_at == first is not None
    assert AuditEntry.objects.filter(action="approval.unknown_outcome").count() == 1
