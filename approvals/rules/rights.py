"""The right to answer one request, as its rules limit it: named approvers, and four eyes.

Both were copied into the request when it was asked. They narrow the right of `approvals.permissions`, and give none.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group

from accounts.actors import Actor
from accounts.models import User
from approvals.models import Approval, Step
from approvals.states import StepKind
from core.web import problems

BREAK_GLASS = "approvals.break_glass"
#: The fewest words of the sentence that breaks the glass.
FEWEST_WORDS = 4
#: The steps that make further people approvers of one request.
ADDING = (StepKind.DELEGATED, StepKind.ESCALATED)


def check_answer(approval: Approval, actor: Actor, break_glass: Any = None) -> str | None:
    """Check that the rules of a request let this person answer it. Return the reason of a broken glass, if it counted.

    The owner of the session or key that asks may answer under four eyes only with the permission to break the glass,
    and a sentence that says why. Raises not-an-approver, self-approval, and invalid for a sentence that is too short.
    """
    check_named(approval, actor)
    if not approval.four_eyes or actor.user_id not in owners(approval):
        return None
    if break_glass is None or actor.user is None or not actor.user.has_perm(BREAK_GLASS):
        raise problems.forbidden(
            "A rule demands four eyes: who asked may not answer. In an emergency a person with the permission "
            f"{BREAK_GLASS} may, with `break_glass`: a sentence that says why.",
            "self-approval",
        )
    if not isinstance(break_glass, str) or len(break_glass.split()) < FEWEST_WORDS:
        detail = f"must be a sentence of at least {FEWEST_WORDS} words that says why"
        raise problems.invalid([{"field": "break_glass", "detail": detail}])
    return break_glass


def check_named(approval: Approval, actor: Actor) -> None:
    """Raise not-an-approver for a person that the rules of a request do not name, unless somebody handed it to them."""
    if actor.user is not None and not is_named(approval, actor.user):
        names = ", ".join(described(approval)) or "nobody"
        raise problems.forbidden(f"Only these people may answer it: {names}.", "not-an-approver")


def is_named(approval: Approval, user: User) -> bool:
    """Return True if every rule that names approvers names this person, or somebody handed the request to them."""
    named = (approval.terms or {}).get("approvers", [])
    if not named:
        return True
    groups = set(user.groups.values_list("name", flat=True))
    if all(user.get_username() in each["users"] or groups & set(each["groups"]) for each in named):
        return True
    steps = Step.objects.filter(approval=approval, kind__in=ADDING).values_list("detail", flat=True)
    targets = [target for detail in steps for target in targets_of(detail)]
    return ("user", user.get_username()) in targets or bool({("group", name) for name in groups} & set(targets))


def assigned(terms: dict[str, Any] | None) -> dict[str, Any]:
    """Return the columns that put a request into the queue of its one named approver or group. Empty for several."""
    named = (terms or {}).get("approvers", [])
    if len(named) != 1 or len(named[0]["users"]) + len(named[0]["groups"]) != 1:
        return {}
    if named[0]["users"]:
        found = User.objects.filter(username=named[0]["users"][0]).values_list("pk", "username").first()
    else:
        found = Group.objects.filter(name=named[0]["groups"][0]).values_list("pk", "name").first()
    kind = "user" if named[0]["users"] else "group"
    return {"assigned_to": {"kind": kind, "id": str(found[0]), "name": found[1]}} if found else {}


def targets_of(detail: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the targets of a step, as kinds and names."""
    targets = detail.get("targets") or ([detail["to"]] if detail.get("to") else [])
    return [(each["kind"], each["name"]) for each in targets]


def owners(approval: Approval) -> list[int]:
    """Return the ids of the owners of the session or key that asks."""
    found: list[int] = (approval.terms or {}).get("owners", [])
    return found


def described(approval: Approval) -> list[str]:
    """Describe the named approvers. Empty without any: then everybody with the right may answer."""
    named = (approval.terms or {}).get("approvers", [])
    parts = ([*each["users"], *(f"the group {group}" for group in each["groups"])] for each in named)
    return [" or ".join(part) for part in parts]
