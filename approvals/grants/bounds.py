"""The bounds of a grant: how long, how often, and how its slots are written."""

from __future__ import annotations

from typing import Any

from approvals.grants import patterns
from approvals.grants.patterns import BOUNDS, MAX_ENUM, MAX_PATTERN, MAX_SLOTS
from core.display import names
from core.web.fields import shaped, text
from core.web.openapi import values
from wardroom import jcs

HOUR = 3600
#: Seconds: the usual and the longest life.
USUAL_SECS, LONGEST_SECS = HOUR, 30 * 24 * HOUR
MOST_USES = 1000
#: Live grants of one session, or of one role in one project.
MOST_LIVE = 100
MAX_NAME = 256
#: Of a plan: its steps, and the calls of one step.
MOST_STEPS, MOST_CALLS = 64, 1000

_PATTERN = values.name(MAX_PATTERN)
_SLOT: values.Schema = {
    "type": "object",
    "maxProperties": 1,
    "properties": {
        "glob": _PATTERN,
        "prefix": _PATTERN,
        "enum": {"type": "array", "minItems": 1, "maxItems": MAX_ENUM, "items": values.reference("ExactJsonValue")},
    },
    "additionalProperties": False,
}


def wrong_slots(slots: dict[str, Any]) -> str | None:
    """Return why these are no slots, or None."""
    if not 1 <= len(slots) <= MAX_SLOTS:
        return f"must have 1 to {MAX_SLOTS} members, each the name of an argument"
    for name, bound in slots.items():
        if not isinstance(bound, dict) or len(bound) > 1 or not set(bound) <= set(BOUNDS):
            return f"each slot must be an object with at most one of {', '.join(BOUNDS)}"
        if len(name) > MAX_NAME:
            return f"the name of a slot has at most {MAX_NAME} characters"
        if "enum" in bound and (not isinstance(bound["enum"], list) or not 1 <= len(bound["enum"]) <= MAX_ENUM):
            return f"an `enum` must be an array of 1 to {MAX_ENUM} values"
        if "enum" in bound and not all(map(is_exact, bound["enum"])):
            return "an `enum` holds a value without a canonical form"
        for kind in ("glob", "prefix"):
            if kind in bound and (detail := patterns.wrong_pattern(bound[kind])):
                return f"a `{kind}` {detail}"
    return None


def is_exact(value: Any) -> bool:
    """Return True if every reader reads this JSON value alike."""
    try:
        jcs.canonical(value)
    except jcs.CanonicalError:
        return False
    return True


def wrong_patterns(given: dict[str, Any]) -> str | None:
    """Return why these are no patterns of a plan's step, or None. Nobody has seen a value, so each has a bound."""
    if detail := wrong_slots(given):
        return detail
    return None if all(given.values()) else f"each pattern must have one of {', '.join(BOUNDS)}"


#: One pattern.
PATTERN = text(MAX_PATTERN, 1, check=patterns.wrong_pattern, pattern=names.PATTERN)
PATTERNS = shaped(
    {
        "type": "object",
        "minProperties": 1,
        "maxProperties": MAX_SLOTS,
        "propertyNames": {"maxLength": MAX_NAME, "pattern": values.NO_NUL},
        "additionalProperties": {**_SLOT, "minProperties": 1},
    },
    says="The other arguments, by name, each within a `{glob}`, a `{prefix}` or an `{enum}`.",
    right="an object of the arguments that vary",
    check=wrong_patterns,
)
SLOTS = shaped(
    {
        "type": "object",
        "minProperties": 1,
        "maxProperties": MAX_SLOTS,
        "propertyNames": {"maxLength": MAX_NAME, "pattern": values.NO_NUL},
        "additionalProperties": _SLOT,
    },
    says="Arguments that may vary, by name: `{}` (any value of its simple type), `{glob}`, `{prefix}` or `{enum}`.",
    right="an object of the arguments that may vary",
    check=wrong_slots,
)
#: The same in an answer, where it may be empty.
SHOWN_SLOTS = shaped({"type": "object", "additionalProperties": _SLOT}, says="The arguments that may vary.")
