"""`{% load wardroom_pages %}`: times that the page updates, and words in coloured boxes."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils import timezone
from django.utils.safestring import SafeString

from core.adminsite import display

register = template.Library()


@register.filter
def age(moment: Any) -> SafeString | str:
    """Return a time as *so long ago*."""
    return display.age(moment)


@register.filter
def until(moment: Any) -> SafeString | str:
    """Return a future time as *in so long*."""
    return display.until(moment)


@register.simple_tag
def server_now() -> str:
    """Return the server's time, for the countdowns of the page."""
    return timezone.now().isoformat(timespec="milliseconds")


@register.simple_tag
def badge(word: Any, tone: str = "") -> SafeString:
    """Return a word in a coloured box. Tones: good, busy, wait, bad."""
    return display.badge(str(word), tone)
