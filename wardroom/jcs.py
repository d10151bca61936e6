"""The canonical form of JSON (RFC 8785) and the digest of an action: what was approved is what runs.

The digest of an action is the SHA-256, in lower-case hexadecimal, of the canonical JSON of an object with
exactly the ten keys of `ACTION_KEYS`. Absent equals null: a member that is missing or null is *written* as
null, so all ten keys are always there. Nothing inside `arguments` is touched. `v` is 1.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

from wardroom import strict

ACTION_VERSION = 1
ACTION_KEYS = (
    "v",
    "project",
    "session",
    "attempt",
    "request_id",
    "tool_name",
    "tool_schema_version",
    "permission",
    "resource",
    "arguments",
)


class CanonicalError(ValueError):
    """The value has no canonical form that every reader would agree on."""


def canonical(value: Any) -> str:
    """RFC 8785 text of `value`; CanonicalError for what is not strict JSON or an integer of 2^53 or more."""
    try:
        strict.check(value)
        return rfc8785.dumps(value).decode()
    except (strict.StrictJSONError, rfc8785.CanonicalizationError) as error:
        raise CanonicalError(str(error)) from None


def canonical_action(action: Mapping[str, Any]) -> str:
    """The text that is hashed, stored and sent to run; CanonicalError for a key that is not of the ten."""
    unknown = set(action) - set(ACTION_KEYS)
    if unknown:
        raise CanonicalError(f"not part of an action: {', '.join(sorted(map(str, unknown)))}")
    whole: dict[str, Any] = {key: action.get(key) for key in ACTION_KEYS}
    if whole["v"] is None:
        whole["v"] = ACTION_VERSION
    return canonical(whole)


def digest(action: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical action, as 64 hexadecimal characters."""
    return digest_of(canonical_action(action))


def digest_of(text: str) -> str:
    """SHA-256 of a canonical text that is already at hand."""
    return hashlib.sha256(text.encode()).hexdigest()
