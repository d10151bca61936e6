"""An approved plan, and the slots of its steps."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from approvals import states
from approvals.models.approval import Approval
from approvals.models.remembered import Remembered
from approvals.states import GrantEnd
from core.db.fields import JSONText

#: The beginning of the rule's name on an approval that a plan let through.
PLAN_RULE = "plan:"


class Plan(Remembered):
    """What a person made of a manifest. It has the id of the request that asked for it."""

    id = models.UUIDField(primary_key=True, editable=False)
    approval = models.OneToOneField(Approval, on_delete=models.CASCADE, related_name="plan_born")
    ordered = models.BooleanField()

    class Meta:
        ordering = ["-granted_at", "-id"]
        default_permissions = ()
        indexes = [
            models.Index(fields=["project", "granted_at", "id"], name="plans_list"),
            models.Index(fields=["session"], condition=Q(ended_at__isnull=True), name="plans_of_session"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, end_reason__isnull=True)
                | Q(ended_at__isnull=False, end_reason__in=states.values(GrantEnd)),
                name="plans_end_for_a_reason",
            ),
            models.CheckConstraint(condition=Q(id=F("approval")), name="plans_have_the_id_of_their_request"),
        ]

    def __str__(self) -> str:
        return f"plan {self.id}"

    @property
    def rule(self) -> str:
        """The name under which an approval and its audit name the plan that let it through."""
        return f"{PLAN_RULE}{self.id}"

    @property
    def title(self) -> str:
        """The name of the plan among those who decide."""
        return f"the plan {str(self.id)[:8]}"


class PlanStep(models.Model):
    """One step of an approved plan: its calls, and those that it has let through."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="steps")
    number = models.PositiveSmallIntegerField()
    tool_name = models.CharField(max_length=256)
    permission = models.CharField(max_length=256)
    # The step as it stands in the manifest.
    step = JSONText()
    count = models.PositiveIntegerField()
    used = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["number"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["plan", "number"], name="plans_step_once"),
            # No step lets more calls through than were approved.
            models.CheckConstraint(condition=Q(used__lte=F("count"), count__gte=1), name="plans_used_within_count"),
        ]

    def __str__(self) -> str:
        return f"step {self.number} of {self.plan_id}"

    @property
    def left(self) -> Any:
        return self.count - self.used
