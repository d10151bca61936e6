"""A grant: the answer of a person that also lets later requests through, and its bounds."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.db import models
from django.db.models import F, Q

from approvals import states
from approvals.models.approval import Approval
from approvals.models.remembered import Remembered
from approvals.states import GrantEnd, GrantScope, Reversibility, Risk
from core.db.fields import JSONText
from core.display.text import shortened


class Grant(Remembered):
    """What one approval also allows. Its rows are never deleted by hand: a grant ends."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # The request of its birth. Retention deletes both together, which also ends the grant.
    approval = models.OneToOneField(Approval, on_delete=models.CASCADE, related_name="grant_born")
    scope = models.CharField(max_length=16, choices=GrantScope.choices)
    role = models.CharField(max_length=100, default="")
    # The session had the reach of its role. Otherwise its role is a label that its spawner chose.
    has_role_reach = models.BooleanField(default=False)

    # The action as it was approved, in canonical form.
    action = models.TextField()
    tool_name = models.CharField(max_length=256)
    permission = models.CharField(max_length=256)
    resource = models.TextField()
    # The digest of everything that must be equal. See `approvals.grants.patterns`.
    match_digest = models.CharField(max_length=64)
    # The arguments that may vary, each with its bound, and the one that the resource repeats.
    slots = JSONText(default=dict)
    resource_slot = models.CharField(max_length=256, null=True)
    # A graver request is another one.
    risk = models.CharField(max_length=16, choices=Risk.choices)
    reversibility = models.CharField(max_length=32, choices=Reversibility.choices)

    uses = models.PositiveIntegerField()
    used = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-granted_at", "-id"]
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["project", "granted_at", "id"], name="grants_list"),
            # The look of every ask: live grants for one tool.
            models.Index(
                fields=["project", "tool_name", "expires_at"], condition=Q(ended_at__isnull=True), name="grants_live"
            ),
            # The look of every end of a session.
            models.Index(fields=["session"], condition=Q(ended_at__isnull=True), name="grants_of_session"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(scope__in=states.values(GrantScope)), name="grants_scope_known"),
            models.CheckConstraint(condition=~Q(scope=GrantScope.ROLE) | ~Q(role=""), name="grants_role_is_named"),
            # No grant is used more often than it allows.
            models.CheckConstraint(condition=Q(used__lte=F("uses"), uses__gte=1), name="grants_used_within_uses"),
            # A grant that is used up has ended, and one that has ended says why.
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, end_reason__isnull=True, used__lt=F("uses"))
                | Q(ended_at__isnull=False, end_reason__in=states.values(GrantEnd)),
                name="grants_end_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{shortened(self.tool_name)} for {self.scope}"

    @property
    def rule(self) -> str:
        """The name under which an approval and its audit name the grant that let it through."""
        return f"{RULE}{self.id}"

    @property
    def title(self) -> str:
        """The name of the grant among those who decide."""
        return f"the grant {str(self.id)[:8]}"

    @property
    def left(self) -> int:
        return self.uses - self.used

    @property
    def seen(self) -> Any:
        """The members of the action that the person saw."""
        return json.loads(self.action)


#: The beginning of the rule's name on an approval that a grant let through.
RULE = "grant:"
