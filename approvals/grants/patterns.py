"""Decide whether a later action is the one that a person saw, or differs only where they allowed it to.

Everything is compared as canonical JSON (RFC 8785): 1 and 1.0 are one number, and `true` is no number. Texts are
compared character by character, so another case, another script or another form of the same letter is another text.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from core.display import names
from wardroom import jcs

Slots = Mapping[str, Mapping[str, Any]]

#: The members of a slot that bound it.
BOUNDS = ("glob", "prefix", "enum")
MAX_SLOTS, MAX_PATTERN, MAX_ENUM, MAX_WILDCARDS = 16, 1024, 64, 4
#: The longest text that a glob or a prefix matches.
MAX_MATCHED = 4096
#: A wildcard stands for these characters alone: no blank, no quote, nothing that a shell reads.
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@:+=,")
WITH_SLASH = PLAIN | {"/"}
#: The longest first.
_WILDCARDS = {"**": WITH_SLASH, "*": PLAIN}


def digest(action: Mapping[str, Any], slots: Collection[str] = (), resource_slot: str | None = None) -> str:
    """Return the digest of everything that must be equal: the action without its ids and without these slots.

    With a `resource_slot` the resource repeats that argument, and varies with it.
    """
    arguments = action["arguments"]
    if slots:
        arguments = {name: value for name, value in arguments.items() if name not in slots}
    fixed = {
        "tool_name": action["tool_name"],
        "tool_schema_version": action["tool_schema_version"],
        "permission": action["permission"],
        "resource": None if resource_slot else action["resource"],
        "resource_slot": resource_slot,
        "arguments": arguments,
        "preconditions": action.get("preconditions", []),
        "slots": sorted(slots),
    }
    return jcs.digest_of(jcs.canonical(fixed))


def has_slots(action: Mapping[str, Any], slots: Collection[str]) -> bool:
    """Return True if the action has an argument for each slot. A null is an argument, an absent one is not."""
    arguments = action["arguments"]
    return not slots or (isinstance(arguments, dict) and all(name in arguments for name in slots))


def varies_within(seen: Mapping[str, Any], action: Mapping[str, Any], slots: Slots, resource_slot: str | None) -> bool:
    """Return True if each slot of the action is within its bound. `seen` is the action that the person saw."""
    arguments = action["arguments"]
    if resource_slot is not None and action["resource"] != arguments[resource_slot]:
        return False
    return all(fits(arguments[name], bound, like=seen["arguments"][name]) for name, bound in slots.items())


def fits(value: Any, bound: Mapping[str, Any], *, like: Any) -> bool:
    """Return True if a value is within a bound. Without a bound any value of the same simple type as `like` is."""
    if "enum" in bound:
        return jcs.canonical(value) in map(jcs.canonical, bound["enum"])
    if "glob" in bound:
        return isinstance(value, str) and is_glob_match(bound["glob"], value)
    if "prefix" in bound:
        return isinstance(value, str) and is_prefix_match(bound["prefix"], value)
    return kind(value) == kind(like) and kind(like) in ("string", "number", "boolean")


def kind(value: Any) -> str:
    """Return the type of a JSON value, as JSON Schema names it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def is_prefix_match(prefix: str, value: str) -> bool:
    """Return True if the value is the prefix and then only plain characters, without a step up (`..`)."""
    rest = value[len(prefix) :]
    return (
        value.startswith(prefix)
        and len(value) <= MAX_MATCHED
        and not rest.startswith("-")
        and all(character in WITH_SLASH for character in rest)
        and value.count("..") == prefix.count("..")
    )


def is_glob_match(glob: str, value: str) -> bool:
    """Return True if the glob matches the whole value.

    `*` is one or more plain characters, `**` the same with slashes. Neither begins with a dash, which a command would
    read as an option, and neither adds a step up (`..`). Every other character stands for itself.
    """
    if len(value) > MAX_MATCHED or value.count("..") != glob.count(".."):
        return False
    ends = {0}
    for part in split(glob):
        # The places in the value up to which the glob so far can reach: no backtracking.
        if part in _WILDCARDS:
            ends = _beyond(value, ends, _WILDCARDS[part])
        else:
            ends = {end + len(part) for end in ends if value.startswith(part, end)}
    return len(value) in ends


def split(glob: str) -> list[str]:
    """Return the wildcards of a glob and the texts between them, in order."""
    found = [""]
    rest = glob
    while rest:
        wildcard = next((each for each in _WILDCARDS if rest.startswith(each)), None)
        if wildcard is None:
            found[-1] += rest[0]
        else:
            found += [wildcard, ""]
        rest = rest[len(wildcard or rest[0]) :]
    return found


def wrong_pattern(text: Any) -> str | None:
    """Return why a text is no pattern, or None."""
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_PATTERN:
        return f"must be a string of 1 to {MAX_PATTERN} characters"
    if not names.is_visible(text):
        return "holds an invisible character"
    if sum(part in _WILDCARDS for part in split(text)) > MAX_WILDCARDS:
        return f"has more than {MAX_WILDCARDS} wildcards"
    return None


def read(action: str) -> dict[str, Any]:
    """Return the members of a canonical action."""
    found: dict[str, Any] = json.loads(action)
    return found


def _beyond(value: str, starts: Collection[int], allowed: frozenset[str]) -> set[int]:
    """Return the ends of one or more allowed characters after any of these starts."""
    found: set[int] = set()
    for start in sorted(starts):
        if value[start : start + 1] == "-":
            continue
        end = start
        while end < len(value) and value[end] in allowed:
            end += 1
            if end in found:
                break  # An earlier start went on from here.
            found.add(end)
    return found
