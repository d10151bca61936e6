"""The forms of the page that answer nothing: claim, release, delegate, snooze, extend and escalate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import Group

from accounts.actors import Actor
from approvals import permissions
from approvals.life import ask_back, bodies, claims, deadlines, reminders, routing
from approvals.models import Approval
from core.web import problems, request_body

#: The most people and groups that the page offers. By REST any name may be given.
MOST_OFFERED = 100
DONE = {
    "claim": "Others see that you look at it.",
    "release": "Your claim has ended.",
    "snooze": "Your own queue was changed, for you alone. The request still waits.",
    "delegate": "It was handed over. It still waits.",
    "escalate": "It was escalated. It still waits.",
    "ask_back": "The agent was asked. The request still waits.",
    "remind": "The others were reminded. The request still waits.",
    "extend": "Its deadline was moved.",
}


def take(posted: Mapping[str, str], approval: Approval, user: Any) -> str:
    """Take the step that a form names, and say what was done. Raises as its operation does."""
    name, actor = posted.get("step", ""), Actor.of_user(user)
    where = approval.project_id, approval.id, actor
    match name:
        case "claim":
            claims.claim(*where)
        case "release":
            claims.release(*where)
        case "snooze":
            read = request_body.convert({"for_secs": _number(posted, "for_secs")}, bodies.ApprovalSnooze)
            routing.snooze(*where, for_secs=read.for_secs)
        case "remind":
            reminders.remind(*where, note=posted.get("note") or None)
            if not permissions.approvers(approval.project_id).exclude(pk=user.pk).exists():
                return "It was recorded. Nobody else may answer it, so nobody was reminded."
        case "ask_back":
            question = posted.get("question", "").replace("\r\n", "\n")
            ask_back.ask(*where, question=question)
        case "extend":
            said = {"expires_in_secs": _number(posted, "expires_in_secs")}
            routed = request_body.convert(said, bodies.ApprovalExtension)
            deadlines.extend(*where, expires_in_secs=routed.expires_in_secs)
        case "delegate" | "escalate":
            kind, _, target = posted.get("to", "").partition(":")
            said = {"note": posted.get("note") or None, **({kind: target} if target else {})}
            to = request_body.convert(said, bodies.ApprovalEscalation)
            call = routing.delegate if name == "delegate" else routing.escalate
            call(*where, user=to.user, group=to.group, note=to.note)
        case _:
            raise problems.invalid([{"field": "step", "detail": "is no step of this page"}])
    return DONE[name]


def targets(approval: Approval) -> dict[str, list[str]]:
    """Return the names of the people and groups that may answer here, for the form."""
    people = permissions.approvers(approval.project_id)
    groups = Group.objects.filter(projects=approval.project_id, user__in=people).distinct()
    names = people.order_by("username").values_list("username", flat=True)
    return {
        "people": list(names[:MOST_OFFERED]),
        "groups": list(groups.order_by("name").values_list("name", flat=True)[:MOST_OFFERED]),
    }


def _number(posted: Mapping[str, str], name: str) -> Any:
    raw = posted.get(name, "")
    return int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 10 else raw
