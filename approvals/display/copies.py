"""The display copy of a request: the action as people and other callers than the asker see it, without its secrets.

The stored action and its digest stay as they are. Most requests hold no secret: a fast look at the canonical text says
so, and its result is remembered by the digest.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from approvals.models import Approval
from core.display import redaction
from core.display.redaction import Hidden, redacted
from wardroom import jcs

#: The most digests that are remembered as those of an action without secrets.
MOST_REMEMBERED = 16_384
#: Members of a JSON Schema: those with values of the field, and those with schemas by the names of fields.
VALUES = frozenset({"const", "default", "enum", "example", "examples"})
NAMED_SCHEMAS = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
#: The depth to which references are followed.
MOST_PASSES = 4
_clean: dict[str, None] = {}


@dataclass(frozen=True, slots=True)
class DisplayCopy:
    """`action` and `proposed` as they are shown. `hidden` are the hidden arguments; `count` includes those of texts."""

    action: dict[str, Any]
    proposed: Any
    hidden: tuple[Hidden, ...]
    count: int

    @property
    def arguments(self) -> Any:
        """The arguments that run, as they are shown."""
        return self.action["arguments"]


def of(row: Approval) -> DisplayCopy:
    """Return the display copy of a request."""
    action, hidden, count = _shown(row.digest, row.action)
    proposed = None
    if row.proposed_action:
        before, _, more = _shown(str(row.proposed_digest), row.proposed_action)
        proposed, count = before["arguments"], count + more
    return DisplayCopy(action, proposed, tuple(hidden), count)


def without_secrets(row: Approval) -> Approval:
    """Return the request with the display copy in the place of what it holds. It must not be saved.

    The same row, if it holds no secret.
    """
    shown, question, resource = of(row), text(row.question), redacted(row.resource)
    if not shown.count and (question, resource) == (row.question, row.resource):
        return row
    hidden = copy.copy(row)
    hidden.question, hidden.resource = question, resource
    if shown.count:
        hidden.action = jcs.canonical(shown.action)
    return hidden


def has_secrets(row: Approval) -> bool:
    """Return True when the copy hides a part of the action that runs."""
    return _shown(row.digest, row.action)[2] > 0


def of_action(stored: str) -> dict[str, Any]:
    """Return the display copy of a canonical action that is kept beside its request."""
    return _shown(jcs.digest_of(stored), stored)[0]


def text(value: str | None) -> str | None:
    """Return a text of an agent or a person without secrets; None stays None."""
    return None if value is None else redacted(value)


def value(given: Any) -> Any:
    """Return a JSON value of an agent or a person without secrets; None stays None."""
    return None if given is None else redaction.json_copy(given).shown


def schema(given: Any) -> Any:
    """Return a JSON Schema without secrets. It shows fields such as `password`, and not their values, as a default.

    A part that such a field refers to holds its values too. References may go on, so there are several passes.
    """
    secret = set[int]()
    for _ in range(MOST_PASSES):
        known = len(secret)
        try:
            shown = _schema(given, "", secret, given)
        except LookupError:
            break
        if len(secret) == known:
            return shown
    # Nobody refers to nothing, or so deep, but to hide a value: every part may hold it.
    return _schema(given, "secret", None, given)


def _schema(given: Any, hides: str, secret: set[int] | None, top: Any) -> Any:
    """Return the copy of a schema. `hides` is the name of the field above it that hides its values.

    `secret` are the identities of the parts that hide them: those of references are added. None: it does not matter.
    Raises LookupError for a reference to nothing.
    """
    match given:
        case dict():
            shown = {}
            hides = hides or ("secret" if id(given) in (secret or ()) else "")
            for name, each in given.items():
                if name in VALUES:
                    copied = redaction.Copy().of(each, (), is_named=True, secret=hides)
                elif name in NAMED_SCHEMAS and isinstance(each, dict):
                    copied = {}
                    for field, below in each.items():
                        by = field if redaction.is_secret(field) else hides
                        copied[redacted(field)] = _schema(below, by, secret, top)
                else:
                    copied = _schema(each, hides, secret, top)
                    if name == "$ref" and hides and secret is not None and isinstance(each, str):
                        secret.add(id(_part(top, each)))
                shown[redacted(name)] = copied
            return shown
        case list():
            return [_schema(each, hides, secret, top) for each in given]
        case str():
            return redacted(given)
    return given


def _part(top: Any, reference: str) -> Any:
    """Return the part of a schema that a reference names. Raises LookupError."""
    beginning, *steps = unquote(reference).split("/")
    if beginning != "#":
        raise LookupError(reference)
    for step in steps:
        name = step.replace("~1", "/").replace("~0", "~")
        members = dict(zip(map(str, range(len(top))), top, strict=True)) if isinstance(top, list) else top
        if not isinstance(members, dict):
            raise LookupError(reference)
        top = members[name]
    return top


def _shown(digest: str, stored: str) -> tuple[dict[str, Any], list[Hidden], int]:
    """Return the action without secrets, the hidden arguments, and the number of hidden values."""
    action: dict[str, Any] = json.loads(stored)
    if digest in _clean:
        return action, [], 0
    if redaction.is_clean(stored):
        if len(_clean) >= MOST_REMEMBERED:
            _clean.clear()
        if digest:
            _clean[digest] = None
        return action, [], 0
    arguments = redaction.json_copy(action["arguments"])
    action["arguments"] = arguments.shown
    count = len(arguments.hidden)
    facts = action.get("preconditions", [])
    for holder, name in ((action, "resource"), *((fact, word) for fact in facts for word in ("shown", "value_hash"))):
        shown = redacted(holder[name])
        count += shown != holder[name]
        holder[name] = shown
    return action, arguments.hidden, count
