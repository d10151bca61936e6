"""One table of arrows, and everything else derives from it."""

from __future__ import annotations

from django.apps import apps
from django.db.models import CheckConstraint, Q

from approvals import states
from approvals.states import Decision, Status


def test_only_pending_can_move_and_every_end_is_reachable() -> None:
    assert {to for onward in states.ARROWS.values() for to in onward} == states.TERMINAL
    assert states.sources(Status.APPROVED) == [Status.PENDING]
    assert set(states.ARROWS) == set(Status)


def test_every_decision_leads_to_approved_or_denied_and_only_deny_to_denied() -> None:
    assert set(states.LEADS_TO) == set(Decision)
    assert states.deciding(Status.DENIED) == ["deny"]
    assert states.deciding(Status.APPROVED) == ["approve", "edit", "respond"]


def test_the_databases_constraint_holds_the_words_of_the_table_sorted() -> None:
    checks = {c.name: c for c in apps.get_model("approvals", "Approval")._meta.constraints}
    constraint = checks["approvals_status_known"]
    assert isinstance(constraint, CheckConstraint) and isinstance(constraint.condition, Q)
    assert constraint.condition.children == [("status__in", sorted(Status.values))]


def test_an_asker_raises_the_risk_and_never_lowers_it() -> None:
    assert [states.raised_risk(said) for said in (None, "low", "medium", "high", "critical")] == [
        "medium",
        "medium",
        "medium",
        "high",
        "critical",
    ]
