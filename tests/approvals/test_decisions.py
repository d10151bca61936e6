"""One decision that never changes, checked in a fixed order, by a person with the right."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import decisions
from approvals.decision_validation import Answer
from approvals.models import Approval
from approvals.states import Status
from core.db.clock import clock_at
from core.web.problems import Problem
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import NOON, Asked, child

pytestmark = pytest.mark.django_db


@pytest.fixture
def decide(project: Project, alice: User) -> Any:
    def answer(approval: Any, decision: str = "approve", by: Any = alice, now: Any = None, **said: Any) -> Any:
        actor = Actor.of_user(by) if isinstance(by, User) else by
        said.setdefault("digest", approval.digest)
        with clock_at(now):
            return decisions.decide(project.pk, approval.id, Answer(decision=decision, **said), actor, "admin")

    return answer


def refusal_of(call: str, *args: Any, **kwargs: Any) -> Problem:
    with pytest.raises(Problem) as refusal:
        call(*args, **kwargs)
    return refusal.value


def test_an_approval_is_approved_by_somebody_with_an_audit_row(asked: Asked, decide: Any, alice: User) -> None:
    done = decide(asked(), message="go", note="looks fine")
    assert (done.status, done.decision_kind, done.decided_via) == ("approved", "approve", "admin")
    assert (done.decided_by["user_id"], done.message, done.note) == (alice.pk, "go", "looks fine")
    row = AuditEntry.objects.get(action="approval.decided")
    assert row.actor == f"user:{alice.pk}"
    detail = json.loads(row.detail)
    assert (detail["decision"], detail["digest"]) == ("approve", done.digest)
    assert Event.objects.get(type="approval_decided").payload["status"] == "approved"


def test_a_denial_needs_no_digest(asked: Asked, decide: Any) -> None:
    assert decide(asked(), "deny", digest=None).status == "denied"


def test_an_edit_keeps_what_was_proposed_and_hashes_what_will_run(asked: Asked, decide: Any) -> None:
    asked_for = asked(arguments={"command": "rm -rf /"})
    done = decide(asked_for, "edit", arguments={"command": "ls", "n": 1.0})
    assert done.status == "approved"
    assert done.arguments == {"command": "ls", "n": 1}
    assert done.proposed_arguments == {"command": "rm -rf /"}
    assert done.proposed_digest == asked_for.digest
    assert done.digest != asked_for.digest
    assert asked_for.digest in AuditEntry.objects.get(action="approval.decided").detail


def test_a_question_is_answered_in_words(asked: Asked, decide: Any) -> None:
    done = decide(asked(allowed_decisions=["respond"]), "respond", message="blue")
    assert (done.status, done.decision_kind, done.message) == ("approved", "respond", "blue")
    assert done not in Approval.objects.unconsumed()


def test_the_first_decision_stands_and_the_second_is_told_so(asked: Asked, decide: Any, bob: User) -> None:
    approval = decide(asked())
    refusal = refusal_of(decide, approval, "deny", by=bob)
    assert (refusal.type, refusal.status) == ("already-decided", 409)
    assert refusal.extra["approval"]["status"] == "approved"
    assert refusal.extra["approval"]["decided_by"]["name"] == "alice"
    assert "alice approved it" in refusal.detail
    assert AuditEntry.objects.filter(action="approval.decided").count() == 1


def test_the_same_person_repeating_the_same_decision_is_no_second_one(
    asked: Asked, decide: Any, alice: User, bob: User
) -> None:
    approval = decide(asked(), "deny")
    assert decide(approval, "deny", message="again").message is None
    key = Actor(kind="key", id="k", name="k", user=alice, scopes=("approvals:decide",))
    assert decide(approval, "deny", by=key).status == "denied"
    assert refusal_of(decide, approval, "approve").type == "already-decided"
    assert refusal_of(decide, approval, "deny", by=bob).type == "already-decided"


def test_repeating_an_edit_means_the_same_arguments(asked: Asked, decide: Any) -> None:
    approval = asked()
    decide(approval, "edit", arguments={"a": 1})
    assert decide(approval, "edit", arguments={"a": 1}).decision_kind == "edit"
    assert refusal_of(decide, approval, "edit", arguments={"a": 2}).type == "already-decided"


def test_a_child_never_decides_not_even_its_own(asked: Asked, decide: Any, session: UUID) -> None:
    approval = asked()
    refusal = refusal_of(decide, approval, by=child(session))
    assert (refusal.type, refusal.status) == ("not-an-approver", 403)
    assert refusal_of(decide, approval, by=child(uuid4())).status == 404


def test_the_permission_the_project_and_the_scope_are_all_needed(
    asked: Asked, decide: Any, viewer: User, stranger: User, alice: User, project: Project
) -> None:
    approval = asked()
    alice.is_active = False
    for by in (viewer, stranger, alice, Actor.system("somebody")):
        assert refusal_of(decide, approval, by=by).type == "not-an-approver"
    key = Actor(kind="key", id="k", name="k", user=alice, scopes=("approvals:read",))
    assert refusal_of(decide, approval, by=key).type == "not-an-approver"
    assert Approval.objects.get().status == "pending"


def test_a_foreign_approval_is_as_unknown_as_one_that_is_not(asked: Asked, elsewhere: Project, stranger: User) -> None:
    approval = asked()
    answers = [
        refusal_of(decisions.decide, elsewhere.pk, known, Answer(decision="deny"), Actor.of_user(stranger), "rest")
        for known in (approval.id, uuid4())
    ]
    assert answers[0].body() == answers[1].body()
    assert answers[0].status == 404


def test_the_order_of_the_checks(asked: Asked, decide: Any, viewer: User, bob: User, project: Project) -> None:
    """Everything is wrong at once; each repair uncovers the next refusal."""
    wrong = {"digest": "0" * 64, "version": 9, "arguments": [], "message": 5}
    pending = asked(expires_in_secs=60, now=NOON)
    late, early = NOON + timedelta(seconds=61), NOON + timedelta(seconds=1)
    decided = decide(asked())
    unknown = Approval(id=uuid4())
    assert refusal_of(decide, unknown, "perhaps", by=viewer, **wrong).type == "not-found"
    assert refusal_of(decide, decided, "perhaps", by=viewer, **wrong).type == "not-an-approver"
    assert refusal_of(decide, decided, "perhaps", by=bob, **wrong).type == "already-decided"
    assert refusal_of(decide, pending, "perhaps", now=early, **wrong).type == "digest-mismatch"
    wrong["digest"] = pending.digest
    assert refusal_of(decide, pending, "perhaps", now=early, **wrong).type == "version-conflict"
    wrong["version"] = 1
    assert refusal_of(decide, pending, "perhaps", now=early, **wrong).type == "invalid"
    assert Approval.objects.get(id=pending.id).status == "pending"
    wrong["digest"] = "0" * 64
    assert refusal_of(decide, pending, "perhaps", now=late, **wrong).type == "expired"


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("decision", {"decision": None}),
        ("decision", {"decision": "APPROVE"}),
        ("decision", {"decision": ["approve"]}),
        ("decision", {"decision": "respond", "message": "x"}),
        ("digest", {"decision": "approve", "digest": None}),
        ("digest", {"decision": "edit", "digest": None, "arguments": {}}),
        ("arguments", {"decision": "edit"}),
        ("arguments", {"decision": "edit", "arguments": [1]}),
        ("arguments", {"decision": "edit", "arguments": {"n": 2**53}}),
        ("arguments", {"decision": "edit", "arguments": {"n": "\0"}}),
        ("arguments", {"decision": "edit", "arguments": {"n": float("inf")}}),
        ("arguments", {"decision": "approve", "arguments": {}}),
        ("message", {"decision": "deny", "message": "a\0"}),
        ("message", {"decision": "deny", "message": "x" * 20_000}),
        ("message", {"decision": "deny", "message": {}}),
        ("note", {"decision": "deny", "note": "\ud800"}),
        ("version", {"decision": "deny", "version": "1"}),
        ("version", {"decision": "deny", "version": True}),
    ],
)
def test_an_answer_that_cannot_be_meant_changes_nothing(asked: Asked, decide: Any, field: str, said: Any) -> None:
    refusal = refusal_of(decide, asked(), **said)
    assert (refusal.type, refusal.status) == ("invalid", 422)
    assert field in {error["field"] for error in refusal.extra["errors"]}
    assert Approval.objects.get().status == "pending"


def test_a_question_is_not_approved_and_an_answer_needs_words(asked: Asked, decide: Any) -> None:
    question = asked(allowed_decisions=["respond"])
    assert refusal_of(decide, question, "approve").status == 422
    assert refusal_of(decide, question, "respond").status == 422


def test_the_deadline_is_checked_by_the_databases_clock(asked: Asked, decide: Any) -> None:
    approval = asked(expires_in_secs=60, now=NOON)
    refusal = refusal_of(decide, approval, now=NOON + timedelta(seconds=60))
    assert (refusal.type, refusal.status) == ("expired", 410)
    assert Approval.objects.get().status == "expired"
    assert refusal_of(decide, approval, now=NOON).type == "expired"


def test_the_update_itself_looks_at_the_deadline(asked: Asked) -> None:
    """The deadline may pass between the look and the UPDATE."""
    seen = asked(expires_in_secs=60, now=NOON)
    columns = {"decision_kind": "approve", "decided_by": {}, "decided_via": "rest"}
    with clock_at(NOON + timedelta(seconds=60)):
        assert decisions._settle(seen, Status.APPROVED, **columns) == []
    with clock_at(NOON + timedelta(seconds=59)):
        (decided,) = decisions._settle(seen, Status.APPROVED, **columns)
        assert decided.status == "approved" and decided.settled_at == NOON + timedelta(seconds=59)
        assert decisions._settle(seen, Status.DENIED, **columns) == []


def test_the_update_itself_looks_at_the_version_and_the_digest(asked: Asked) -> None:
    """The action may change between the look and the UPDATE."""
    seen, other = asked(), asked(arguments={"command": "another"})
    columns = {"decision_kind": "approve", "decided_by": {}, "decided_via": "rest"}
    row = Approval.objects.filter(id=seen.id)
    for changed in ({"version": seen.version + 1}, {"digest": other.digest}):
        row.update(**changed)
        assert decisions._settle(seen, Status.APPROVED, **columns) == []
        row.update(version=seen.version, digest=seen.digest)
    assert len(decisions._settle(seen, Status.APPROVED, **columns)) == 1


def test_the_sweeper_expires_what_is_due_once_and_nothing_without_a_deadline(asked: Asked) -> None:
    due, later, never = asked(expires_in_secs=10, now=NOON), asked(expires_in_secs=99, now=NOON), asked(now=NOON)
    with clock_at(NOON + timedelta(seconds=9)):
        assert decisions.expire_due() == 0
    with clock_at(NOON + timedelta(seconds=10)):
        assert decisions.expire_due() == 1
        assert decisions.expire_due() == 0
    statuses = [Approval.objects.get(id=row.id).status for row in (due, later, never)]
    assert statuses == ["expired", "pending", "pending"]
    assert Event.objects.filter(type="approval_expired").count() == 1
    assert AuditEntry.objects.filter(action="approval.expired").count() == 1


def test_expired_is_not_denied(asked: Asked) -> None:
    approval = asked(expires_in_secs=1, now=NOON)
    with clock_at(NOON + timedelta(seconds=2)):
        decisions.expire_due()
    approval.refresh_from_db()
    assert (approval.status, approval.decision_kind, approval.decided_by) == ("expired", None, None)


def test_withdrawing_is_cancelling_and_can_be_repeated(asked: Asked, project: Project, session: UUID) -> None:
    approval = asked()
    for _ in range(2):
        done = decisions.withdraw_request(session, 1, approval.request_id, child(session), "not needed")
        assert (done.status, done.cancel_reason, done.cancel_detail) == ("cancelled", "withdrawn", "not needed")
    assert Event.objects.filter(type="approval_cancelled").count() == 1
    assert AuditEntry.objects.filter(action="approval.cancelled").count() == 1


def test_what_was_decided_is_not_withdrawn_and_what_was_withdrawn_is_not_decided(
    approved: Asked, asked: Asked, decide: Any, session: UUID
) -> None:
    decided, withdrawn = approved(), asked()
    refusal = refusal_of(decisions.withdraw_request, session, 1, decided.request_id, child(session))
    assert refusal.type == "already-decided"
    decisions.withdraw_request(session, 1, withdrawn.request_id, child(session))
    refusal = refusal_of(decide, withdrawn)
    assert (refusal.type, refusal.extra["approval"]["status"]) == ("already-decided", "cancelled")
    assert refusal_of(decisions.withdraw_request, session, 1, "unknown", child(session)).status == 404
