"""The page of states in docs, generated from the tables of arrows that guards and CHECK constraints use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from approvals import states as approvals
from mailbox import states as mailbox
from orchestration import states as orchestration

Arrows = Mapping[Any, Iterable[Any]]

TABLES: list[tuple[str, str, str, Arrows]] = [
    (
        "Session",
        "queued",
        "Every arrow into `queued` makes the next attempt in the same transaction. Out of a terminal state only "
        "`retry`, `run` or a message that starts it leads back. `lost` is shown, not stored: running and no live line.",
        orchestration.ARROWS,
    ),
    (
        "Approval",
        "pending",
        "One guarded UPDATE leaves `pending`, once. Beside it stand `delivered_at` (the child acknowledged the answer) "
        "and `consumed_at` (the action was taken to run, once).",
        approvals.ARROWS,
    ),
    (
        "Message",
        "new",
        "At a session's address a message goes from `new` to `admitted` and is never claimed. `claimed` to `claimed` "
        "is `recover`: the same message under a new claim.",
        mailbox.MESSAGE_ARROWS,
    ),
    ("Quarantined message", "waiting", "Requeued twice is requeued once.", mailbox.QUARANTINE_ARROWS),
]


def page() -> str:
    """Return the whole page, as Markdown with Mermaid diagrams."""
    head = (
        "# States\n\nDrawn by `manage.py document_states` from the `states.py` of each app; "
        "a test holds this page to them.\n"
    )
    return head + "".join(_section(*table) for table in TABLES)


def _section(name: str, start: str, sentence: str, arrows: Arrows) -> str:
    lines = [f"    [*] --> {start}"]
    for state, ends in arrows.items():
        lines += [f"    {_word(state)} --> {_word(end)}" for end in sorted(map(_word, ends))]
    ends = ", ".join(f"`{_word(state)}`" for state, targets in arrows.items() if not list(targets))
    closing = f"\nEnd states: {ends}.\n" if ends else ""
    return f"\n## {name}\n\n{sentence}\n\n```mermaid\nstateDiagram-v2\n" + "\n".join(lines) + f"\n```\n{closing}"


def _word(state: str) -> str:
    return str(getattr(state, "value", state))
