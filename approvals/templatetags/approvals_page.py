"""`{% load approvals_page %}`: badges, times and links of the approval pages."""

from __future__ import annotations

import contextlib
from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import schemas
from approvals.adminsite.page import RISK_TONES, TONES
from approvals.display import copies, lines
from approvals.models import Approval, Step
from approvals.review import schemas as review_schemas
from approvals.states import Reversibility, ReviewState, Risk, Status, StepKind
from core.adminsite import display
from core.display.redaction import redacted
from core.display.text import shortened

#: Characters of an id in a list, and of a session's name.
SHORT, LONGEST_NAME = 8, 60
#: Characters of the reason beside a verdict.
LONGEST_WHY = 300

register = template.Library()
register.simple_tag(display.age, name="age")
register.simple_tag(display.until, name="until")


@register.simple_tag
def status(word: str) -> SafeString:
    """Show an approval's status as a badge."""
    return display.badge(word, TONES[Status(word)])


@register.simple_tag
def risk(word: str) -> SafeString:
    """Show an approval's risk as a badge."""
    return display.badge(f"{word} risk", RISK_TONES[Risk(word)])


@register.simple_tag
def reversibility(word: str) -> SafeString:
    """Show whether an approval's effect can be undone as a badge."""
    return display.badge(Reversibility(word).label.lower(), "wait" if word == Reversibility.IRREVERSIBLE else "")


@register.simple_tag(takes_context=True)
def session_link(context: Any, approval: Approval, whole: bool = False) -> SafeString:
    """Show the session that asked: its name, and its id as a link.

    A reader that may not open the session's page gets the id alone, as does one without the sessions app.
    """
    id = str(approval.session)
    link, may_open = _link(context, id, id if whole else id[:SHORT])
    name = shortened(redacted(getattr(approval, "session_name", "")), LONGEST_NAME) if may_open else ""
    return named(name, link)


@register.simple_tag(takes_context=True)
def path_link(context: Any, id: str, name: str = "") -> SafeString:
    """Show a session above the one that asked: its name, and the beginning of its id as a link if they may open it."""
    link, may_open = _link(context, id, id[:SHORT])
    return named(shortened(redacted(name), LONGEST_NAME) if may_open else "", link)


def named(name: str, link: SafeString) -> SafeString:
    """Show a name in quotes before the link: the name of a session is a text of its spawner, and no words of ours."""
    return format_html('<span class="ap-session">\u201c{}\u201d</span> {}', name, link) if name else link


def _link(context: Any, id: str, shown: str) -> tuple[SafeString, bool]:
    """Return the link to a session's page, and whether the reader may open that."""
    address = ""
    if context["request"].user.has_perm("orchestration.view_session"):
        with contextlib.suppress(NoReverseMatch):
            address = reverse("admin:orchestration_session_change", args=[id])
    if not address:
        return format_html('<span class="wr-mono">{}</span>', shown), False
    return format_html('<a class="wr-mono" href="{}" title="session {}">{}</a>', address, id, shown), True


@register.filter
def display_name(person: Any) -> str:
    """Return a person's name for display."""
    return schemas.display_name(person)


@register.filter
def step_words(step: Step) -> str:
    """Return a step as a verb in the past tense, with whom or how long it names."""
    words, detail = StepKind(step.kind).value, step.detail
    if target := detail.get("to"):
        kind = "the group " if target["kind"] == "group" else ""
        return f"{words} it to {kind}{shortened(target['name'], LONGEST_NAME)}"
    if step.kind == StepKind.REVIEWED:
        return f"reviewed it: {detail['verdict']}"
    if step.kind == StepKind.REPEAT_SETTLED:
        return "settled that the earlier run of it did not happen"
    if step.kind in (StepKind.ASKED_BACK, StepKind.ANSWERED):
        return "asked back" if step.kind == StepKind.ASKED_BACK else "answered a question"
    secs = detail.get("for_secs", detail.get("expires_in_secs", detail.get("lease_secs")))
    if step.kind == StepKind.SNOOZED and secs == 0:
        return "ended their snooze of it"
    return f"{words} it" if secs is None else f"{words} it for {secs} s"


@register.filter
def under_review(approval: Approval) -> str:
    """Return the names of the reviewers that still look at a request."""
    return ", ".join(review_schemas.under_review(approval))


@register.filter
def review_words(review: dict[str, Any], pending: bool) -> str:
    """Return the state of a review in words."""
    state = ReviewState(review["state"])
    if state == ReviewState.WAITING:
        return f"looks at it until {review['deadline_at']}" if pending else "has said nothing yet"
    said = {
        ReviewState.ALLOW: "says ALLOW",
        ReviewState.DENY: "says DENY",
        ReviewState.ASK: "leaves it to people",
        ReviewState.FAILED: "gave no verdict",
        ReviewState.DROPPED: "was not asked: the request had ended",
    }[state]
    why = shortened(redacted(review.get("why") or ""), LONGEST_WHY)
    if state in (ReviewState.ALLOW, ReviewState.DENY) and not review["has_answered"]:
        return f"{said}, which answers nothing{why and f': {why}'}"
    return f"{said}{why and f': {why}'}"


@register.filter
def own_words(review: dict[str, Any]) -> str:
    """Return the words of the reviewer itself, without ours before them."""
    return (review["note"] or "").removeprefix(review.get("why") or "").removeprefix(": ")


#: The words of the page for the fields of its forms.
LABELS = {
    "question": "Your question",
    "for_secs": "Out of my queue for",
    "expires_in_secs": "New deadline",
    "user": "Hand it to",
    "group": "Hand it to",
    "note": "Note",
    "message": "Message to the agent",
    "seen": "Seen",
    "step": "The step",
    "settled_as": "The outcome",
}


@register.filter
def field_label(name: str) -> str:
    """Return the label of a refused field, or its path where it has none."""
    return LABELS.get(name, name)


@register.filter
def span(secs: float | None) -> str:
    """Return a length of time in its largest unit."""
    if secs is None:
        return display.NOTHING
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if secs >= 2 * size:
            return f"{secs / size:.0f} {unit}"
    return f"{secs:.0f} s"


@register.filter
def short_id(approval: Approval) -> str:
    """Return the beginning of the id. It tells identical requests apart."""
    return str(approval.id)[:SHORT]


@register.filter
def preview(approval: Any) -> str:
    """Return one line of the action for a list."""
    return lines.of_action(copies.of(approval).action)
