"""What a benchmark found, and how it is shown."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Self


@dataclasses.dataclass(frozen=True)
class Figure:
    """One row: our rounds beside the rounds of the peer or limit that they are compared with.

    `goal` is the ratio to reach: ours / peer where `more_is_better`, peer / ours where less is. None: no goal.
    """

    what: str
    unit: str
    ours: list[float]
    peer: str
    theirs: list[float]
    goal: float | None = None
    more_is_better: bool = True

    @property
    def ratio(self) -> float:
        """The median of the ratios round by round, so that a machine whose speed drifts does less harm."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(ours / theirs if self.more_is_better else theirs / ours for ours, theirs in pairs)

    def row(self) -> str:
        """As a row of a Markdown table."""
        goal = "" if self.goal is None else f"{self.goal:.1f}x"
        verdict = "" if self.goal is None else (" ✓" if self.ratio >= self.goal else " ✗")
        ours, theirs = (_number(statistics.median(rounds)) for rounds in (self.ours, self.theirs))
        cells = [
            self.what,
            f"{ours} {self.unit}",
            self.peer,
            f"{theirs} {self.unit}",
            f"{self.ratio:.2f}x{verdict}",
            goal,
        ]
        return f"| {' | '.join(cells)} |"


@dataclasses.dataclass(frozen=True)
class Table:
    """All figures of one benchmark, and what a reader must know to trust them."""

    name: str
    title: str
    figures: list[Figure]
    notes: str = ""

    def markdown(self) -> str:
        """A section of docs/benchmarks.md."""
        rounds = max(len(figure.ours) for figure in self.figures)
        head = f"## {self.title}\n\n<!-- {self.name} -->\n`make bench ARGS={self.name}`, {rounds} rounds.\n\n"
        rows = "| | Wardroom | beside | | ratio | goal |\n|---|---|---|---|---|---|\n"
        rows += "\n".join(figure.row() for figure in self.figures)
        return f"{head}{rows}\n" + (f"\n{self.notes.strip()}\n" if self.notes else "")

    def to_json(self) -> str:
        """For the process that collects the tables."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        fields = json.loads(text)
        return cls(**fields | {"figures": [Figure(**figure) for figure in fields["figures"]]})

    @staticmethod
    def sections(page: str) -> dict[str, str]:
        """The sections of a written page, by the name of their benchmark."""
        parts = re.split(r"(?m)^(?=## )", page)[1:]
        return {found.group(1): f"{part.strip()}\n" for part in parts if (found := re.search(r"<!-- (\w+) -->", part))}


def main(measure: Callable[[int], Table]) -> None:
    """The command line of one benchmark module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = measure(options.rounds)
    if options.json:
        options.json.write_text(table.to_json())
    else:
        print(table.markdown())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
