"""Validate, bound and canonicalise a requested action before a row is written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import msgspec

from approvals.bodies import ApprovalAsk
from approvals.json_schema import responses, validation
from approvals.plans import manifests
from approvals.states import ACTION_DECISIONS, Decision
from core.web import problems, request_body
from wardroom import jcs

MAX_ACTION_BYTES = 512 * 1024
#: They bound the answers of people, not the action: neither is part of its digest, which names what runs.
SCHEMAS = ("tool_schema", "response_schema")


class Ask(ApprovalAsk, frozen=True, kw_only=True):
    """One unchecked request; `prepare` validates it. Without a session there is no attempt either."""

    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid ask: its canonical action, its digest, the digest of the whole request, and what makes two asks alike."""

    ask: Ask
    action: str
    digest: str
    asked_digest: str
    likeness: str
    allowed_decisions: list[str]


def prepare(project: str, ask: Ask) -> Prepared:
    """Validate and canonicalise a request. Raises `invalid` with every wrong field."""
    if errors := list(request_body.errors(msgspec.structs.asdict(ask), Ask)):
        raise problems.invalid(errors)
    if ask.plan is not None:
        ask = manifests.as_action(ask)
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
            "plan": ask.plan is not None,
            # In the order of their names: the same facts are the same action.
            "preconditions": sorted(ask.preconditions or [], key=lambda fact: fact["name"]),
        }
    )
    allowed = allowed_decisions(ask.allowed_decisions)
    if errors := _schema_errors(ask, allowed):
        raise problems.invalid(errors)
    # The digest of the whole request tells a repeated request from another one with the same id.
    request = {
        "action": action,
        "question": ask.question,
        "tool_call_id": ask.tool_call_id,
        "risk": ask.risk,
        "reversibility": ask.reversibility,
        "expires_in_secs": ask.expires_in_secs,
        "allowed_decisions": allowed,
    }
    # Only where they are: the digest of every other request stays as it is.
    request |= {name: schema for name in SCHEMAS if (schema := getattr(ask, name)) is not None}
    asked_digest = jcs.digest_of(jcs.canonical(request))
    return Prepared(ask, action, jcs.digest_of(action), asked_digest, likeness(ask), allowed)


def likeness(ask: Ask) -> str:
    """Return a hash that two asks share when they want the same thing, whoever asks and by whatever request id.

    It joins asks for the staff and proves nothing, so it is made by the fast encoder and not by JCS.
    """
    stated: Any = ask.preconditions or []  # Plain objects, as they came.
    facts = sorted(stated, key=lambda fact: fact["name"])
    same = [ask.tool_name, ask.tool_schema_version, ask.permission, ask.resource, ask.arguments, facts]
    same += ["plan"] if ask.plan is not None else []
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()


def _schema_errors(ask: Ask, allowed: list[str]) -> list[dict[str, str]]:
    """Return why the schemas of an ask are refused, or why its own arguments do not fit."""
    errors = []
    if ask.tool_schema is not None:
        errors += validation.schema_errors("tool_schema", ask.tool_schema)
        errors = errors or validation.errors("arguments", ask.tool_schema, ask.arguments or {})
    if ask.response_schema is not None:
        errors += responses.schema_errors("response_schema", ask.response_schema)
        if Decision.RESPOND not in allowed:
            errors.append(_error("response_schema", "needs `respond` among the allowed decisions"))
    return errors


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


def _error(field: str, detail: str) -> dict[str, str]:
    return {"field": field, "detail": detail}


def as_hex(digest: Any) -> Any:
    """Return a digest as we write it, in lower case. Hexadecimal digits mean the same in upper case."""
    return digest.lower() if isinstance(digest, str) else digest
