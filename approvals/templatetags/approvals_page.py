"""`{% load approvals_page %}`: badges, times and links of the approval pages."""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import staffroom
from approvals import shapes
from approvals.admin_page import RISK_TONES, TONES
from approvals.models import Approval
from approvals.states import Risk, Status

register = template.Library()
register.simple_tag(staffroom.age, name="age")
register.simple_tag(staffroom.until, name="until")


@register.simple_tag
def status(word: str) -> SafeString:
    """An approval's status as a badge."""
    return staffroom.badge(word, TONES[Status(word)])


@register.simple_tag
def risk(word: str) -> SafeString:
    """Its risk as a badge."""
    return staffroom.badge(f"{word} risk", RISK_TONES[Risk(word)])


@register.simple_tag(takes_context=True)
def session_link(context: Any, approval: Approval, whole: bool = False) -> SafeString:
    """The session that asked, linked to its page if the reader may see it there."""
    name = str(approval.session)
    shown = name if whole else name[:8]
    address = _session_page(context["request"], name)
    if not address:
        return format_html('<span class="wr-mono">{}</span>', shown)
    return format_html('<a class="wr-mono" href="{}" title="session {}">{}</a>', address, name, shown)


def _session_page(request: Any, session: str) -> str:
    """Its address, or nothing: approvals can be used without sessions, and by somebody who may not look at them."""
    if not request.user.has_perm("orchestration.view_session"):
        return ""
    try:
        return reverse("admin:orchestration_session_change", args=[session])
    except NoReverseMatch:
        return ""


@register.filter
def who(person: Any) -> str:
    """Who it was, in words."""
    return shapes.who(person)


@register.filter
def preview(approval: Any) -> str:
    """One line of what would run, for a list: the command of a shell, else the resource."""
    command = (approval.arguments or {}).get("command")
    text = command if isinstance(command, str) else approval.resource
    first, *more = text.strip("\n").split("\n")
    return f"{first} … ({len(more) + 1} lines)" if more else first
