"""`{% load wardroom_pages %}`: times that the page counts on, and words in coloured boxes."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.safestring import SafeString

from accounts.adminsite import admin_base

register = template.Library()


@register.filter
def age(moment: Any) -> SafeString | str:
    """A time as so long ago."""
    return admin_base.age(moment)


@register.filter
def until(moment: Any) -> SafeString | str:
    """A time to come, as in so long."""
    return admin_base.until(moment)


@register.simple_tag
def badge(word: Any, tone: str = "") -> SafeString:
    """A word in a coloured box. Tones: good, busy, wait, bad."""
    return admin_base.badge(str(word), tone)
