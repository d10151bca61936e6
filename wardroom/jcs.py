"""The canonical form of JSON (RFC 8785) and the digest of an action: the approved action is the one that runs.

The digest of an action is the SHA-256, in lower-case hexadecimal, of the canonical JSON of an object with exactly the
ten keys of `ACTION_KEYS`. Absent equals null: a missing or null member is *written* as null, so all ten keys are always
present. The contents of `arguments` stay unchanged. `v` is 1.

An action with preconditions has an eleventh key, `preconditions`, and `v` is 2. A plan has the key `plan`, which is
true, its `arguments` are the manifest, and `v` is 3. The digest of every other action stays as it is.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

from wardroom import strict

ACTION_VERSION, GUARDED_VERSION, PLAN_VERSION = 1, 2, 3
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
    """Return the RFC 8785 text of `value`. CanonicalError unless it is strict JSON without integers of 2^53 or more."""
    try:
        strict.check(value)
        return rfc8785.dumps(value).decode()
    except (strict.StrictJSONError, rfc8785.CanonicalizationError) as error:
        raise CanonicalError(str(error)) from None


def canonical_action(action: Mapping[str, Any]) -> str:
    """Return the text to hash, store and run. CanonicalError for any other key."""
    preconditions = action.get("preconditions")
    unknown = set(action) - {*ACTION_KEYS, "preconditions", "plan"}
    if unknown:
        raise CanonicalError(f"not part of an action: {', '.join(sorted(map(str, unknown)))}")
    whole: dict[str, Any] = {key: action.get(key) for key in ACTION_KEYS}
    if whole["v"] is None:
        whole["v"] = GUARDED_VERSION if preconditions else ACTION_VERSION
        if action.get("plan"):
            whole["v"] = PLAN_VERSION
    if action.get("plan"):
        whole["plan"] = True
    if preconditions:
        whole["preconditions"] = preconditions
    return canonical(whole)


def digest(action: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical action, as 64 hexadecimal characters."""
    return digest_of(canonical_action(action))


def digest_of(text: str) -> str:
    """Return the SHA-256 of a text that is already canonical."""
    return hashlib.sha256(text.encode()).hexdigest()
