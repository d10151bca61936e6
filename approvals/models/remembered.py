"""The columns of an answer that also lets later requests through: a grant, or a plan."""

from __future__ import annotations

from django.db import models

from accounts.models import Credential, Project, User
from approvals.states import GrantEnd


class Remembered(models.Model):
    """Its times, the person whose right carries it, and its end."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    # The session that asked then; of a tree, its top.
    session = models.UUIDField()
    last_used_at = models.DateTimeField(null=True)
    granted_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    # The person as the list shows them, the person whose right carries it, and the key that they used.
    granted_by = models.JSONField()
    person = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    key = models.ForeignKey(Credential, on_delete=models.CASCADE, null=True, related_name="+")
    ended_at = models.DateTimeField(null=True)
    end_reason = models.CharField(max_length=16, choices=GrantEnd.choices, null=True)
    ended_by = models.JSONField(null=True)

    # Computed by the database. Only rows from the selectors of grants and plans have them.
    is_expired: bool
    is_carried: bool

    class Meta:
        abstract = True
