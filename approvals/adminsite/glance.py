"""The action on a card of the queue. Only an action that its card shows whole may be approved from the queue."""

from __future__ import annotations

import json
from dataclasses import dataclass

from approvals.adminsite import page
from approvals.display import copies
from approvals.models import Approval
from approvals.states import Decision, ReviewState, Risk, Status
from core.display.text import visible

#: Characters that a card shows, and those of an action that is looked at for a card.
LONGEST_SHOWN, LONGEST_READ = 300, 4000
MAY_BE_QUICK = frozenset({Risk.LOW, Risk.MEDIUM})


@dataclass(frozen=True, slots=True)
class Glance:
    """One line of an action. `hidden` says why the page must be opened before an approval; empty: it need not be."""

    text: str
    hidden: str = ""

    @property
    def is_whole(self) -> bool:
        return not self.hidden


def of(approval: Approval) -> Glance:
    """Return what a card shows: the command or the resource, then everything else that would run."""
    if len(approval.action) > LONGEST_READ:
        return Glance("", "It is too long for a card.")
    shown = copies.of(approval)
    arguments, resource = shown.arguments or {}, shown.action["resource"]
    command = arguments.get("command")
    first = command if isinstance(command, str) else resource
    # The resource is often one of the arguments, as the folder of a command: it is shown once, by its own name.
    repeats = first == resource or resource in arguments.values()
    others = [] if repeats else [f"resource: {resource}"]
    for name, value in arguments.items():
        if value != first:
            words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            others.append(f"{name}: {words}")
    text = " · ".join([first, ", ".join(others)]) if others else first
    hidden = ""
    if shown.count:
        hidden = "A part of it is hidden."
    elif approval.preconditions:
        hidden = "It depends on facts that its page shows."
    elif "\n" in text or len(text) > LONGEST_SHOWN:
        hidden = "It is too long for a card."
    elif visible(text) != text or page.warnings(approval):
        hidden = "Its page has a warning about its text."
    return Glance(text, hidden)


def must_open(approval: Approval, seen: Glance | None = None) -> str:
    """Return why an approval needs the page of the request; empty if its card is enough. `seen`: its glance.

    The server checks this again when the answer comes: a card that looks harmless proves nothing.
    """
    if Risk(approval.risk) not in MAY_BE_QUICK:
        return f"Its risk is {approval.risk}."
    if Decision.APPROVE not in approval.allowed_decisions:
        return "It is a question, or takes no plain approval."
    if approval.is_plan:
        return "It is a plan of several steps."
    if approval.quorum > 1 or approval.four_eyes:
        return "A rule says who must answer it."
    if approval.fallback:
        return "Its asker did not wait."
    if approval.repeat_warning:
        return "It may have run already."
    if any(each["state"] != ReviewState.WAITING for each in approval.reviews or ()):
        return "A reviewer has given a verdict."
    if approval.open_questions:
        return "A question to the agent has no answer yet."
    return (seen or of(approval)).hidden


def may_deny(approval: Approval) -> bool:
    """Return True if the request still waits and takes a denial."""
    return approval.status == Status.PENDING and Decision.DENY in approval.allowed_decisions
