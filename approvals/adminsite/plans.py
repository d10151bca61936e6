"""Plans in the admin: the list, and on the page of its request a table of the steps with the button that ends it."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import OuterRef, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.actors import Actor
from accounts.adminsite.project_scoped import ProjectFilter
from approvals import permissions
from approvals.adminsite.remembered import LONGEST, RememberedAdmin, StateFilter
from approvals.display import copies
from approvals.grants import matching
from approvals.grants import selectors as states
from approvals.models import Approval, Plan
from approvals.plans import endings, selectors
from core.display.text import shortened


@admin.register(Plan)
class PlanAdmin(RememberedAdmin):
    """Show staff the plans of their own projects. Each row leads to the request that asked for it, with the steps."""

    list_display = ("what", "session_shown", "granted_from", "state_and_uses", "revoke_button")
    list_filter = (StateFilter, ProjectFilter)
    list_display_links = None
    search_fields: ClassVar = ()
    fields = ("what", "session_shown", "count", "state", "granted", "origin", "last_used", "ends")
    readonly_fields = fields
    change_list_template = "admin/approvals/plan/list.html"
    revoke_address = "admin:approvals_approval_revoke_plan"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """Return the plans of the reader's projects with their state and their steps."""
        rows = super().get_queryset(request).prefetch_related("steps")
        return states.annotated(rows, matching.carried(OuterRef("project")))

    @admin.display(description="steps")
    def what(self, plan: Plan) -> SafeString:
        """Return the number of the steps and their tools, as the way to the request."""
        tools = ", ".join(dict.fromkeys(step.tool_name for step in plan.steps.all()))
        number = len(plan.steps.all())
        words = f"{number} step{'' if number == 1 else 's'}{', in order' if plan.ordered else ''}"
        address = reverse("admin:approvals_approval_change", args=[plan.pk])
        shown = shortened(tools, 2 * LONGEST)
        return format_html('<a href="{}">{} <span class="ap-preview">{}</span></a>', address, words, shown)

    @admin.display(description="for")
    def session_shown(self, plan: Plan) -> SafeString:
        """Return the session that it is for."""
        shown = str(plan.session)[:8]
        markup = '<span class="wr-nowrap">session <span class="wr-mono" title="{}">{}</span></span>'
        return format_html(markup, plan.session, shown)

    @admin.display(description="used")
    def count(self, plan: Plan) -> str:
        """Return the calls so far, and how many there are."""
        steps = plan.steps.all()
        return f"{sum(step.used for step in steps)} of {sum(step.count for step in steps)}"


def context(approval: Approval, user: Any) -> dict[str, Any]:
    """Return the steps for the table. Before the approval nothing of them is used."""
    if not approval.is_plan:
        return {"plan_steps": ()}
    plan = selectors.of(approval.project_id).filter(pk=approval.pk).first()
    used = {} if plan is None else {step.number: step.used for step in plan.steps.all()}
    manifest = copies.of(approval).arguments
    state = None if plan is None else states.state(plan)
    return {
        "plan_steps": [
            {
                "number": number,
                **step,
                "varying": [(name, json.dumps(bound)) for name, bound in sorted((step["patterns"] or {}).items())],
                "equal": [(name, json.dumps(value)) for name, value in sorted((step["arguments"] or {}).items())],
                "used": used.get(number, 0),
                "left": step["count"] - used.get(number, 0),
            }
            for number, step in enumerate(manifest["steps"], 1)
        ],
        "manifest": manifest,
        "plan": plan,
        "plan_state": (state or "").replace("_", " "),
        "may_end_plan": state == states.LIVE and permissions.may_decide(user, approval.project_id),
    }


def revoke(approval: Approval, user: Any) -> str:
    """End the plan of this request, and say what was done. Raises as the operation does."""
    done = endings.revoke(approval.project_id, approval.pk, Actor.of_user(user))
    if done.end_reason == "revoked":
        return "The plan is revoked: no call passes by it any more."
    return "The plan had ended already."
