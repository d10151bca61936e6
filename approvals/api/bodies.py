"""Turn REST bodies into the arguments of operations. Only names are checked here; the operations check values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import attempt_clock
from approvals.canonical_action import Ask
from approvals.decision_validation import Answer
from core.web import faults, problems
from core.web.bodies import whole
from core.web.paths import uuid_of

ASKED = (
    "request_id",
    "tool_name",
    "permission",
    "resource",
    "question",
    "arguments",
    "tool_call_id",
    "tool_schema_version",
    "risk",
    "expires_in_secs",
    "allowed_decisions",
)
ANSWERED = ("decision", "digest", "version", "message", "note", "arguments")
CONSUMED = ("digest", "claim")
WITHDRAWN = ("reason",)


def words(data: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return these members of the body, None for an absent one.

    Raises invalid for a body that is not an object or has other members.
    """
    body = _mapping(data)
    if unknown := _unknown(body, names):
        raise problems.invalid([{"field": faults.step("", name), "detail": problems.UNKNOWN} for name in unknown])
    return {name: body.get(name) for name in names}


def ask(data: Any, project_id: Any, actor: Actor) -> Ask:
    """Read a request. A child asks for its own attempt; a key for the session that it names, or for none."""
    fields = words(data, ("session", *ASKED))
    fields["expires_in_secs"] = whole(fields["expires_in_secs"])
    named = fields.pop("session")
    session = None if named is None else uuid(named, "session")
    if actor.kind == "child":
        if session not in (None, actor.session):
            raise problems.not_found()
        return Ask(session=actor.session, attempt=actor.attempt, **fields)
    attempt = None if session is None else attempt_clock.current_attempt(project_id, session)
    return Ask(session=session, attempt=attempt, **fields)


def answer(data: Any) -> Answer:
    """Read a decision. The body never says which person decides. The operation refuses unknown fields."""
    body = _mapping(data)
    fields: dict[str, Any] = {name: body.get(name) for name in ANSWERED}
    fields["version"] = whole(fields["version"])
    return Answer(**fields, unknown=_unknown(body, ANSWERED))


def _mapping(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise problems.invalid([faults.wrong("", data, faults.OBJECT)])
    return data


def _unknown(body: dict[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name, value in body.items() if name not in names and value is not None)


def uuid(value: Any, field: str) -> UUID:
    """Read a UUID. Raises invalid with the field's name."""
    found = uuid_of(value) if isinstance(value, str) else None
    if found is None:
        raise problems.invalid([faults.wrong(field, value, faults.UUID)])
    return found
