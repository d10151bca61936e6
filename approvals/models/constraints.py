"""The constraints of an approval: what no operation, and no hand, may write."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from approvals import states
from approvals.states import (
    CancelReason,
    Decision,
    Fallback,
    Outcome,
    RequestVia,
    Reversibility,
    Risk,
    Status,
    Via,
)

CONSTRAINTS: list[models.BaseConstraint] = [
    models.CheckConstraint(
        condition=Q(session__isnull=True, attempt__isnull=True) | Q(session__isnull=False, attempt__isnull=False),
        name="approvals_session_with_attempt",
    ),
    # The same request asked twice is one row.
    models.UniqueConstraint(
        fields=["session", "attempt", "request_id"],
        condition=Q(session__isnull=False),
        name="approvals_asked_once",
    ),
    models.UniqueConstraint(
        fields=["project", "request_id"],
        condition=Q(session__isnull=True),
        name="approvals_asked_once_alone",
    ),
    models.CheckConstraint(condition=Q(status__in=states.values(Status)), name="approvals_status_known"),
    models.CheckConstraint(condition=Q(risk__in=states.values(Risk)), name="approvals_risk_known"),
    models.CheckConstraint(
        condition=Q(reversibility__in=states.values(Reversibility)), name="approvals_reversibility_known"
    ),
    models.CheckConstraint(condition=Q(via__in=states.values(RequestVia)), name="approvals_via_known"),
    # I5, I6: only approved and denied rows have a decision, and each decision has a kind and an actor.
    models.CheckConstraint(
        condition=Q(
            status=Status.APPROVED,
            decision_kind__in=states.deciding(Status.APPROVED),
            decided_by__isnull=False,
            decided_via__in=states.values(Via),
        )
        | Q(
            status=Status.DENIED,
            decision_kind__in=states.deciding(Status.DENIED),
            decided_by__isnull=False,
            decided_via__in=states.values(Via),
        )
        | Q(
            status__in=sorted(set(states.values(Status)) - set(states.DECIDED)),
            decision_kind__isnull=True,
            decided_by__isnull=True,
            decided_via__isnull=True,
        ),
        name="approvals_decided_by_somebody",
    ),
    models.CheckConstraint(
        condition=Q(status=Status.PENDING, settled_at__isnull=True)
        | Q(status__in=sorted(states.TERMINAL), settled_at__isnull=False),
        name="approvals_settled_when_over",
    ),
    models.CheckConstraint(
        condition=Q(status=Status.CANCELLED, cancel_reason__in=states.values(CancelReason))
        | (~Q(status=Status.CANCELLED) & Q(cancel_reason__isnull=True)),
        name="approvals_cancelled_for_a_reason",
    ),
    # I7: only an approved row is ever consumed.
    models.CheckConstraint(
        condition=Q(consumed_at__isnull=True) | Q(status=Status.APPROVED),
        name="approvals_consumed_if_approved",
    ),
    # Nothing is delivered before there is an answer.
    models.CheckConstraint(
        condition=Q(delivered_at__isnull=True) | ~Q(status=Status.PENDING),
        name="approvals_delivered_if_settled",
    ),
    models.CheckConstraint(
        condition=Q(proposed_digest__isnull=True, proposed_action__isnull=True)
        | Q(decision_kind=Decision.EDIT, proposed_digest__isnull=False, proposed_action__isnull=False),
        name="approvals_proposed_if_edited",
    ),
    models.CheckConstraint(
        condition=Q(response__isnull=True) | Q(decision_kind=Decision.RESPOND, response_schema__isnull=False),
        name="approvals_response_if_asked",
    ),
    models.CheckConstraint(
        condition=Q(fallback__isnull=True, fallback_at__isnull=True)
        | Q(fallback__in=states.values(Fallback), fallback_at__isnull=False),
        name="approvals_fallback_known",
    ),
    models.CheckConstraint(condition=Q(version__gte=1), name="approvals_version_from_one"),
    # I7: nothing runs on facts that nobody approved.
    models.CheckConstraint(
        condition=Q(stale_at__isnull=True, stale__isnull=True)
        | Q(stale_at__isnull=False, stale__isnull=False, consumed_at__isnull=True, status=Status.APPROVED),
        name="approvals_stale_never_runs",
    ),
    models.CheckConstraint(
        condition=Q(outcome__isnull=True) | Q(outcome__in=states.values(Outcome)), name="approvals_outcome_known"
    ),
    # An unknown outcome has a time, and only an unknown one is settled by a person.
    models.CheckConstraint(
        condition=(~Q(outcome=Outcome.UNKNOWN) & Q(outcome_settled_as__isnull=True))
        | Q(outcome_unknown_at__isnull=False, repeat_digest__isnull=False),
        name="approvals_settled_if_unknown",
    ),
    # A claim is a lease: it has an owner and an end, or neither.
    models.CheckConstraint(
        condition=Q(claimed_by__isnull=True, claimed_until__isnull=True)
        | Q(claimed_by__isnull=False, claimed_until__isnull=False),
        name="approvals_claim_is_a_lease",
    ),
    models.CheckConstraint(condition=Q(quorum__gte=1), name="approvals_quorum_from_one"),
    models.CheckConstraint(
        condition=Q(escalations=0, escalated_at__isnull=True) | Q(escalations__gt=0, escalated_at__isnull=False),
        name="approvals_escalated_at_a_time",
    ),
]
