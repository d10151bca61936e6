"""`{% load wardroom_text %}`: filters that templates use to show untrusted text.

Their output is plain text, so autoescaping applies to it.
"""

import json
from typing import Any

from django import template

from core.display import redaction, text, whitespace

register = template.Library()


@register.filter
def visible(value: Any) -> str:
    """Return one line with every hidden character, newline and tab included, as an escape. None becomes empty."""
    return "" if value is None else text.visible(str(value))


@register.filter
def visible_lines(value: Any) -> str:
    """Return several lines (for a <pre>): newline and tab stay, a carriage return becomes an escape."""
    return "" if value is None else text.visible(str(value), lines=True)


@register.filter
def visible_parts(value: Any) -> list[whitespace.Part]:
    """Return several lines in parts, for `admin/_marked.html`. Whitespace that could hide text is a mark."""
    return [] if value is None else whitespace.parts(str(value))


@register.filter
def visible_json(value: Any) -> str:
    """Return a JSON value of a program without secrets, indented."""
    return text.visible_json(redaction.event_copy(value))


@register.filter
def visible_short(value: Any, limit: int = 120) -> str:
    """Return one line cut to `limit` characters with the number left out. Never use it before a decision."""
    return "" if value is None else text.shortened(str(value), limit)


@register.filter
def visible_compact(value: Any, limit: int = 120) -> str:
    """Return a JSON value on one line, cut to `limit` characters."""
    return text.shortened(json.dumps(value, ensure_ascii=False, default=str), limit)


@register.filter
def unsecret(value: Any) -> str:
    """Return the text without secrets, before one of the filters above. None becomes empty."""
    return "" if value is None else redaction.redacted(str(value))


@register.filter
def mixed_scripts(value: Any) -> list[str]:
    """Return warnings, one for each word that mixes scripts."""
    return [] if value is None else [str(found) for found in text.mixed_scripts(str(value))]
