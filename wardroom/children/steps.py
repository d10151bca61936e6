"""The steps of a runbook, their results, and the text form of both."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wardroom.children.syntax import unfinished

Outcome = Literal["done", "failed", "denied", "expired", "skipped", "stopped", "cancelled", "unknown"]

#: The kernel's limit for one argument of a program (MAX_ARG_STRLEN, with a NUL at its end).
MAX_COMMAND_BYTES = 128 * 1024 - 1
MAX_STEPS = 1000
SHOWN_COMMAND = 200
SHOWN_BYTES = 2000
SHOWN_TABLE = 100 * 1024
_BLANKS = " \t"
_LINE_END = re.compile(r"\r?\n")
_RECORD = re.compile(r"runbook:(\d+):(\d+):([a-z]+):(-?\d*)\Z")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a runbook, with the heading before it."""

    number: int
    command: str
    gated: bool
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a step. `command` is the command that ran, edited or not."""

    step: Step
    outcome: Outcome
    exit_code: int | None = None
    seconds: float | None = None
    command: str | None = None
    message: str | None = None

    def as_fields(self) -> dict[str, Any]:
        """Return the fields for the event that ends a run. Members without a value are left out."""
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


def lines(text: str) -> list[str]:
    """Return the lines of a text. Only LF or CR LF ends a line, as for a shell and an editor."""
    return _LINE_END.split(text)


def parse(text: str) -> list[Step]:
    """Return the steps of a runbook: one command a line; `#` begins a heading, `!` a command without approval."""
    return [step for _, step in _numbered(text)]


def refusal(text: str) -> str | None:
    """Return why this runbook cannot run, with the line, or None when it can. It may still have no steps."""
    numbered = _numbered(text)
    if len(numbered) > MAX_STEPS:
        return f"the runbook has {len(numbered)} steps; it may have {MAX_STEPS}: put some of them into a script"
    for line, step in numbered:
        if (size := len(step.command.encode())) > MAX_COMMAND_BYTES:
            return f"line {line} has {size} bytes, and a command at most {MAX_COMMAND_BYTES}: put it into a script"
        if "\0" in step.command:
            return f"line {line} holds a NUL character"
        if why := unfinished(step.command):
            return f"line {line} {why}: each line is a whole command; join the lines with ; or put them into a script"
    return None


def _numbered(text: str) -> list[tuple[int, Step]]:
    """Return each step with its line number."""
    steps: list[tuple[int, Step]] = []
    heading = ""
    for number, raw in enumerate(lines(text), 1):
        line = raw.strip(_BLANKS)
        if line.startswith("#"):
            heading = line.lstrip("#").strip(_BLANKS)
        elif command := line.removeprefix("!").strip(_BLANKS):
            steps.append((number, Step(len(steps) + 1, command, not line.startswith("!"), heading)))
    return steps


def cut(text: str, most: int = SHOWN_BYTES) -> str:
    """Return as much of the text as fits into this many bytes of UTF-8, with a mark for a cut."""
    raw = text.encode()
    return text if len(raw) <= most else raw[:most].decode(errors="ignore") + "…"


def table(results: Sequence[Result]) -> str:
    """Return the steps as a table for people. The middle is cut when it is too long to store."""
    rows = [("step", "outcome", "exit", "secs", "command")]
    for result in results:
        code = "-" if result.exit_code is None else str(result.exit_code)
        secs = "-" if result.seconds is None else f"{result.seconds:.1f}"
        remark = _short(result.command or result.step.command)
        if result.command and result.command != result.step.command:
            remark += f"  (edited; asked for: {_short(result.step.command)})"
        if result.message:
            remark += f"  ({_short(result.message)})"
        rows.append((str(result.step.number), result.outcome, code, secs, remark))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]
    sizes = [len(line.encode()) + 1 for line in lines]
    if sum(sizes) <= SHOWN_TABLE:
        return "\n".join(lines)
    head, tail, room = 1, len(lines), SHOWN_TABLE - sizes[0] - 100
    while (size := sizes[head] + sizes[tail - 1]) <= room:
        head, tail, room = head + 1, tail - 1, room - size
    return "\n".join([*lines[:head], f"... {tail - head} more steps ...", *lines[tail:]])


def record_id(attempt: int, result: "Result | None", step: Step) -> str:
    """Return the id of a history item. A restarted runbook parses it to find its earlier steps."""
    if result is None:
        return f"runbook:{attempt}:{step.number}:started:"
    code = "" if result.exit_code is None else result.exit_code
    return f"runbook:{attempt}:{step.number}:{result.outcome}:{code}"


def past(history: Iterable[dict[str, Any]], attempt: int, steps: Sequence[Step]) -> dict[int, Result]:
    """Return the results of an earlier process of this attempt, by step.

    A step that was started and has no recorded end is *unknown*: it may have run, so it must not run again. A message
    is never a record, whatever id its sender gave it.
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


def _short(text: str) -> str:
    """Return one line of at most `SHOWN_COMMAND` characters. Characters that would break or hide text are escaped."""
    line = text if len(text) <= SHOWN_COMMAND else f"{text[: SHOWN_COMMAND - 1]}…"
    return line if line.isprintable() else "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in line)
