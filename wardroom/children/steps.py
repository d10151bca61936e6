"""What a runbook says, what became of each step, and how both are written down."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["done", "failed", "denied", "expired", "skipped", "stopped", "cancelled", "unknown"]

SHOWN_COMMAND = 200
SHOWN_TABLE = 100 * 1024
_RECORD = re.compile(r"runbook:(\d+):(\d+):([a-z]+):(-?\d*)\Z")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a runbook, under the heading before it."""

    number: int
    command: str
    gated: bool
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a step; `command` is what ran, edited or not."""

    step: Step
    outcome: Outcome
    exit_code: int | None = None
    seconds: float | None = None
    command: str | None = None
    message: str | None = None

    def as_fields(self) -> dict[str, Any]:
        """For the event that ends a run; members without a value are left out."""
        asked, ran = self.step.command, self.command or self.step.command
        fields = {
            "step": self.step.number,
            "outcome": self.outcome,
            "command": _short(ran),
            "asked": _short(asked) if asked != ran else None,
            "exit_code": self.exit_code,
            "seconds": self.seconds,
            "message": _short(self.message) if self.message else None,
        }
        return {name: value for name, value in fields.items() if value is not None}


def parse(text: str) -> list[Step]:
    """The steps of a runbook: one command a line, `#` begins a heading, `!` a command that needs no approval."""
    steps: list[Step] = []
    heading = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
        elif command := line.removeprefix("!").strip():
            steps.append(Step(len(steps) + 1, command, not line.startswith("!"), heading))
    return steps


def table(results: Sequence[Result]) -> str:
    """The steps as a person reads them; cut in the middle when it would be too long to keep."""
    rows = [("step", "outcome", "exit", "secs", "command")]
    for result in results:
        code = "-" if result.exit_code is None else str(result.exit_code)
        secs = "-" if result.seconds is None else f"{result.seconds:.1f}"
        rows.append((str(result.step.number), result.outcome, code, secs, _remark(result)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]
    return _fit(lines)


def record_id(attempt: int, result: "Result | None", step: Step) -> str:
    """The id of a line of history: machine-readable, so that a restarted runbook knows what it did."""
    if result is None:
        return f"runbook:{attempt}:{step.number}:started:"
    code = "" if result.exit_code is None else result.exit_code
    return f"runbook:{attempt}:{step.number}:{result.outcome}:{code}"


def past(history: Iterable[dict[str, Any]], attempt: int, steps: Sequence[Step]) -> dict[int, Result]:
    """What an earlier process of this very attempt did, by step.

    A step that was started and never recorded as ended is *unknown*: it may have run, so it must not run again.
    A message is no record, whatever id its sender gave it.
    """
    found: dict[int, Result] = {}
    for item in history:
        if item.get("role") == "user":
            continue
        match = _RECORD.match(str(item.get("id") or ""))
        if match and int(match[1]) == attempt and 1 <= int(match[2]) <= len(steps):
            step = steps[int(match[2]) - 1]
            outcome: Any = "unknown" if match[3] == "started" else match[3]
            found[step.number] = Result(step, outcome, int(match[4]) if match[4] else None)
    return found


def _remark(result: Result) -> str:
    text = _short(result.command or result.step.command)
    if result.command and result.command != result.step.command:
        text += f"  (edited; asked for: {_short(result.step.command)})"
    return f"{text}  ({_short(result.message)})" if result.message else text


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_COMMAND else f"{line[: SHOWN_COMMAND - 1]}…"


def _fit(lines: list[str]) -> str:
    text = "\n".join(lines)
    if len(text.encode()) <= SHOWN_TABLE:
        return text
    head, tail = lines[:101], lines[-100:]
    return "\n".join([*head, f"... {len(lines) - 201} more steps ...", *tail])
