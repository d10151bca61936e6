"""The plan on the page of its request: a table of its steps, used and left, and the button that ends it."""

from __future__ import annotations

import json
from typing import Any

from accounts.actors import Actor
from approvals import permissions
from approvals.display import copies
from approvals.grants import selectors as states
from approvals.models import Approval
from approvals.plans import endings, selectors


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
