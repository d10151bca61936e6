"""`{% load wardroom_text %}`: the filters by which templates show text that others wrote.

Their output is plain text, so autoescaping applies to it as to any other.
"""

import json
from typing import Any

from django import template

from core.display import text, whitespace

register = template.Library()


@register.filter
def visible(value: Any) -> str:
    """One line: every hidden character, newline and tab too, as an escape. None is the empty text."""
    return "" if value is None else text.visible(str(value))


@register.filter
def visible_lines(value: Any) -> str:
    """Several lines (for a <pre>): newline and tab stay real, a carriage return does not."""
    return "" if value is None else text.visible(str(value), lines=True)


@register.filter
def visible_parts(value: Any) -> list[whitespace.Part]:
    """Several lines in parts, for `admin/accounts/_marked.html`: what could hide the rest is a mark with a count."""
    return [] if value is None else whitespace.parts(str(value))


@register.filter
def visible_json(value: Any) -> str:
    """A JSON value, indented."""
    return text.visible_json(value)


@register.filter
def visible_short(value: Any, limit: int = 120) -> str:
    """One line cut to `limit` characters, saying how many more there are: never before a decision."""
    return "" if value is None else text.shortened(str(value), limit)


@register.filter
def visible_compact(value: Any, limit: int = 120) -> str:
    """A JSON value on one line, cut to `limit` characters."""
    return text.shortened(json.dumps(value, ensure_ascii=False, default=str), limit)


@register.filter
def mixed_scripts(value: Any) -> list[str]:
    """Warnings, one for each word that mixes scripts."""
    return [] if value is None else [str(found) for found in text.mixed_scripts(str(value))]
