"""Short values as the admin shows them: times, words in coloured boxes, one visible line of untrusted text."""

from __future__ import annotations

from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from core.display.text import shortened, visible

NOTHING = "\u2013"


def badge(word: str, tone: str = "") -> SafeString:
    """Return a word in a coloured box. Tones: good, busy, wait, bad. No tone is neutral."""
    return format_html('<span class="wr-badge{}">{}</span>', f" wr-badge-{tone}" if tone else "", word)


def age(moment: Any) -> SafeString | str:
    """Return a time as *so long ago*, updated by the page. The exact time is its tooltip."""
    return _clock(moment, "data-age")


def until(moment: Any) -> SafeString | str:
    """Return a future time as *in so long*, counted down by the page."""
    return _clock(moment, "data-until")


def exact(moment: Any) -> str:
    """Return a time to the second, in the zone of the pages."""
    return NOTHING if moment is None else f"{localtime(moment):%Y-%m-%d %H:%M:%S} UTC"


def _clock(moment: Any, kind: str) -> SafeString | str:
    if moment is None:
        return NOTHING
    shown = f"{localtime(moment):%Y-%m-%d %H:%M:%S}"
    return format_html('<time datetime="{}" title="{} UTC" {}>{}</time>', moment.isoformat(), shown, kind, shown)


def one_line(text: Any, limit: int = 80) -> str:
    """Return one visible line of untrusted text, cut for a list."""
    return shortened(str(text), limit) if text not in (None, "") else NOTHING


def clipped(text: str) -> SafeString:
    """Return one visible line that a list cuts at its column's end. The whole text is the tooltip.

    The row's page shows the whole text, too.
    """
    shown = visible(text) or NOTHING
    return format_html('<span class="wr-mono wr-clip" title="{}">{}</span>', shown, shown)
