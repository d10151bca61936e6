"""One line of an action, for lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

#: Characters of one argument.
LONGEST_VALUE = 60


def of_action(action: Mapping[str, Any]) -> str:
    """Return one line of the display copy of an action: the command, else the resource, then the other arguments."""
    arguments = action["arguments"] or {}
    command = arguments.get("command")
    text = command if isinstance(command, str) else action["resource"]
    first, *more = text.strip("\n").split("\n")
    others = []
    for name, value in arguments.items():
        if value != text:
            words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            others.append(f"{name}: {words}" if len(words) <= LONGEST_VALUE else f"{name}: {words[:LONGEST_VALUE]}…")
    shown = f"{first} … ({len(more) + 1} lines)" if more else first
    return " · ".join([shown, ", ".join(others)]) if others else shown
