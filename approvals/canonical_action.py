"""Validate, bound and canonicalise a requested action before a row is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from approvals.states import ACTION_DECISIONS, Decision, Risk
from core.web import faults, problems
from wardroom import jcs, strict

MAX_WORD = 256
MAX_TEXT = 16 * 1024
MAX_ACTION_BYTES = 512 * 1024
MAX_EXPIRES_SECS = 400 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One unchecked request; `prepare` validates it. Without a session there is no attempt either."""

    request_id: str
    tool_name: str
    permission: str
    resource: str
    session: UUID | None = None
    attempt: int | None = None
    question: str | None = None
    arguments: dict[str, Any] | None = None
    tool_call_id: str | None = None
    tool_schema_version: str | None = None
    risk: str | None = None
    expires_in_secs: int | None = None
    allowed_decisions: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid ask: its canonical action, its digest, and the digest of the whole request."""

    ask: Ask
    action: str
    digest: str
    asked_digest: str
    allowed_decisions: list[str]


def prepare(project: str, ask: Ask) -> Prepared:
    """Validate and canonicalise a request. Raises `invalid` with every wrong field."""
    if errors := _errors(ask):
        raise problems.invalid(errors)
    action = canonical(
        {
            "project": project,
            "session": None if ask.session is None else str(ask.session),
            "attempt": ask.attempt,
            "request_id": ask.request_id,
            "tool_name": ask.tool_name,
            "tool_schema_version": ask.tool_schema_version,
            "permission": ask.permission,
            "resource": ask.resource,
            "arguments": ask.arguments,
        }
    )
    allowed = allowed_decisions(ask.allowed_decisions)
    return Prepared(ask, action, jcs.digest_of(action), _asked_digest(ask, action, allowed), allowed)


def edited(action: str, arguments: Any) -> str:
    """Return the canonical text of the same action with other arguments."""
    return canonical({**json.loads(action), "arguments": arguments})


def canonical(action: dict[str, Any]) -> str:
    """Return the text that is hashed, stored, shown and run. Raises `invalid` if there is no canonical form."""
    try:
        text = jcs.canonical_action(action)
    except jcs.CanonicalError as error:
        raise problems.invalid([_error("arguments", str(error))]) from None
    if len(text.encode()) > MAX_ACTION_BYTES:
        raise problems.invalid([_error("arguments", f"the action is larger than {MAX_ACTION_BYTES} bytes")])
    return text


def allowed_decisions(asked: list[str] | None) -> list[str]:
    """Return the decisions that a person may take, in fixed order.

    An action can always be denied, even if the asker leaves `deny` out.
    """
    wanted = set(asked or ACTION_DECISIONS)
    if Decision.RESPOND not in wanted:
        wanted.add(Decision.DENY)
    return [kind.value for kind in Decision if kind in wanted]


def _asked_digest(ask: Ask, action: str, allowed: list[str]) -> str:
    """Return the digest of the whole request. It tells a repeated request from another one with the same id."""
    return jcs.digest_of(
        jcs.canonical(
            {
                "action": action,
                "question": ask.question,
                "tool_call_id": ask.tool_call_id,
                "risk": ask.risk,
                "expires_in_secs": ask.expires_in_secs,
                "allowed_decisions": allowed,
            }
        )
    )


def _errors(ask: Ask) -> list[dict[str, str]]:
    errors: list[dict[str, str]] = []
    for name in ("request_id", "tool_name", "permission"):
        errors += _string(name, getattr(ask, name), MAX_WORD, empty=False)
    for name in ("tool_call_id", "tool_schema_version"):
        if getattr(ask, name) is not None:
            errors += _string(name, getattr(ask, name), MAX_WORD)
    errors += _string("resource", ask.resource, MAX_TEXT)
    if ask.question is not None:
        errors += _string("question", ask.question, MAX_TEXT)
    arguments: Any = ask.arguments
    if arguments is not None and not isinstance(arguments, dict):
        errors.append(faults.wrong("arguments", arguments, faults.OBJECT))
    if ask.risk is not None and ask.risk not in Risk.values:
        errors.append(faults.wrong("risk", ask.risk, faults.one_of(Risk.values)))
    secs: Any = ask.expires_in_secs
    is_whole = isinstance(secs, int) and not isinstance(secs, bool)
    if secs is not None and not (is_whole and 1 <= secs <= MAX_EXPIRES_SECS):
        errors.append(faults.wrong("expires_in_secs", secs, faults.whole(1, MAX_EXPIRES_SECS)))
    if ask.allowed_decisions is not None:
        errors += _allowed_errors(ask.allowed_decisions)
    return errors


def _allowed_errors(asked: Any) -> list[dict[str, str]]:
    name = "allowed_decisions"
    if not isinstance(asked, list) or not asked or not all(kind in Decision.values for kind in asked):
        return [faults.wrong(name, asked, f"an array of some of {', '.join(Decision.values)}")]
    if Decision.RESPOND in asked and set(asked) - {Decision.RESPOND, Decision.DENY}:
        return [_error(name, "`respond` answers a question: it cannot stand beside `approve` or `edit`")]
    return []


def _string(name: str, value: object, limit: int, *, empty: bool = True) -> list[dict[str, str]]:
    if not isinstance(value, str) or len(value) > limit or not (value or empty):
        return [faults.wrong(name, value, faults.string(limit, 0 if empty else 1))]
    if not storable(value):
        return [_error(name, "holds a character that cannot be stored")]
    return []


def storable(text: str) -> bool:
    """Return True if both databases can store the text: no NUL, no lone surrogate.

    Text from forms and frames may not have been checked yet.
    """
    try:
        strict.check(text)
    except strict.StrictJSONError:
        return False
    return True


def _error(field: str, detail: str) -> dict[str, str]:
    return {"field": field, "detail": detail}
