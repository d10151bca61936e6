"""The statements about the outcome of a consumed approval."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from approvals import states
from approvals.models.approval import Approval
from approvals.states import Outcome, OutcomeNoteKind
from core.db.fields import JSONText


class OutcomeNote(models.Model):
    """One statement about an outcome, and by whom. The approval itself holds what counts now."""

    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="outcome_notes")
    kind = models.CharField(max_length=16, choices=OutcomeNoteKind.choices)
    outcome = models.CharField(max_length=16, choices=Outcome.choices)
    at = models.DateTimeField()
    by = models.JSONField()
    # Text of the executor, and the answer of a probe that it sent to the changed system. Unverified.
    detail = models.TextField(null=True)
    probe = JSONText(null=True)
    # Of the person who settled it, for the staff.
    note = models.TextField(null=True)

    class Meta:
        default_permissions = ()
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=states.values(OutcomeNoteKind)) & Q(outcome__in=states.values(Outcome)),
                name="approvals_outcome_note_known",
            ),
            models.UniqueConstraint(
                fields=["approval"], condition=Q(kind=OutcomeNoteKind.SETTLED), name="approvals_settled_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} ({self.kind})"
