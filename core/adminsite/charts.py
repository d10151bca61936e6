"""Charts as SVG, drawn by the server: bars beside the words of a table, and columns over time. They need no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from core.display.text import visible

#: The height of a chart of columns in its own units, and the gap between two columns.
HEIGHT, GAP = 100, 0.2


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a column: its number, and its tone (good, bad, wait, busy or none)."""

    number: int
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its label, and its parts from the bottom."""

    label: str
    parts: Sequence[Part]

    @property
    def total(self) -> int:
        return sum(part.number for part in self.parts)


def bar(number: int, most: int, tone: str = "") -> SafeString:
    """Return one bar, as long as `number` is of `most`. The table beside it says the number."""
    width = f"{100 * number / most:.1f}%" if most else "0"
    return format_html(
        '<svg class="wr-bar" aria-hidden="true" focusable="false">'
        '<rect class="wr-fill{}" width="{}" height="100%"/></svg>',
        f" wr-fill-{tone}" if tone else "",
        width,
    )


def columns(data: Sequence[Column], *, about: str) -> SafeString:
    """Return a chart of columns that share one scale. `about` is its text for a screen reader."""
    most = max((column.total for column in data), default=0)
    drawn = format_html_join("", "{}", ([_column(at, column, most)] for at, column in enumerate(data)))
    return format_html(
        '<svg class="wr-columns-chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        "{}</svg>",
        max(1, len(data)),
        HEIGHT,
        visible(about),
        drawn,
    )


def _column(at: int, column: Column, most: int) -> SafeString:
    rects, top = [], float(HEIGHT)
    for part in column.parts:
        height = HEIGHT * part.number / most if most else 0
        top -= height
        tone = f" wr-fill-{part.tone}" if part.tone else ""
        rects.append((tone, f"{at + GAP / 2:.2f}", f"{top:.2f}", f"{1 - GAP:.2f}", f"{height:.2f}"))
    drawn = format_html_join("", '<rect class="wr-fill{}" x="{}" y="{}" width="{}" height="{}"/>', rects)
    return format_html("<g><title>{}: {}</title>{}</g>", visible(column.label), column.total, drawn)
