"""Turn REST bodies into the arguments of operations. Only names are checked here; the operations check values."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from accounts.actors import Actor
from approvals import attempt_clock
from approvals.bodies import ApprovalAnswer, ApprovalAsk
from approvals.canonical_action import Ask
from approvals.decision_validation import Answer
from core.web import faults, problems, request_body
from core.web.paths import uuid_of


def words(data: Any, body: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the members of the body, None for an absent one. Raises invalid for unknown ones."""
    fields, unknown = request_body.members(data, body)
    request_body.refuse(unknown)
    return fields


def ask(data: Any, project_id: Any, actor: Actor) -> Ask:
    """Read a request. A child asks for its own attempt; a key for the session that it names, or for none."""
    fields = words(data, ApprovalAsk)
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
    fields, unknown = request_body.members(data, ApprovalAnswer)
    return Answer(**fields, unknown=unknown)


def uuid(value: Any, field: str) -> UUID:
    """Read a UUID. Raises invalid with the field's name."""
    found = uuid_of(value) if isinstance(value, str) else None
    if found is None:
        raise problems.invalid([faults.wrong(field, value, faults.UUID)])
    return found
