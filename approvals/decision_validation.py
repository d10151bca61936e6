"""Validate a person's decision against the row that they were shown, in the order that the design fixes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from approvals import canonical_action
from approvals.models import Approval
from approvals.states import LEADS_TO, Decision, Status
from core.web import faults, problems
from wardroom import jcs

MAX_TEXT = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An unchecked decision. The state of the approval is checked before any field of it is read."""

    decision: Any
    digest: Any = None
    version: Any = None
    message: Any = None
    note: Any = None
    arguments: Any = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """The next status and the columns that a valid decision writes."""

    status: Status
    columns: dict[str, Any]


def validate(approval: Approval, answer: Answer) -> Change:
    """Return the change that this decision makes.

    Raises digest-mismatch, then version-conflict, then invalid with every wrong field.
    """
    if answer.digest is not None and answer.digest != approval.digest:
        raise problems.conflict("The action is not the one that you were shown.", "digest-mismatch")
    if _is_number(answer.version) and answer.version != approval.version:
        raise problems.conflict(
            f"The request changed: it is at version {approval.version}.",
            "version-conflict",
            version=approval.version,
        )
    errors = _kind_errors(approval, answer)
    errors += [_error(faults.step("", name), problems.UNKNOWN) for name in answer.unknown]
    if answer.version is not None and not _is_number(answer.version):
        errors.append(faults.wrong("version", answer.version, faults.whole()))
    errors += [*_text_errors("message", answer.message), *_text_errors("note", answer.note)]
    if errors:
        raise problems.invalid(errors, "This answer is not valid.")
    kind = Decision(answer.decision)
    columns = {"decision_kind": kind, "message": answer.message or None, "note": answer.note or None}
    if kind is Decision.EDIT:
        action = canonical_action.edited(approval.action, answer.arguments)
        columns |= {
            "action": action,
            "digest": jcs.digest_of(action),
            "proposed_action": approval.action,
            "proposed_digest": approval.digest,
        }
    return Change(LEADS_TO[kind], columns)


def _kind_errors(approval: Approval, answer: Answer) -> list[dict[str, str]]:
    kind = answer.decision
    if not isinstance(kind, str) or kind not in Decision.values:
        return [faults.wrong("decision", kind, faults.one_of(Decision.values))]
    if kind not in approval.allowed_decisions:
        return [_error("decision", f"this request takes {', '.join(approval.allowed_decisions)}")]
    errors = []
    if kind in (Decision.APPROVE, Decision.EDIT) and answer.digest is None:
        errors.append(faults.wrong("digest", answer.digest, "the digest of the action that you were shown"))
    if kind == Decision.EDIT and not isinstance(answer.arguments, dict):
        errors.append(faults.wrong("arguments", answer.arguments, "a JSON object of the arguments to run instead"))
    if kind != Decision.EDIT and answer.arguments is not None:
        errors.append(_error("arguments", "only an `edit` has arguments"))
    if kind == Decision.RESPOND and not answer.message:
        errors.append(faults.wrong("message", answer.message or None, "the answer, a string that is not empty"))
    return errors


def check_text(name: str, value: Any) -> None:
    """Raise invalid unless the value is absent or a text that can be stored."""
    if errors := _text_errors(name, value):
        raise problems.invalid(errors)


def _text_errors(name: str, value: Any) -> list[dict[str, str]]:
    if value is None:
        return []
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return [faults.wrong(name, value, faults.string(MAX_TEXT))]
    return [] if canonical_action.storable(value) else [_error(name, "holds a character that cannot be stored")]


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _error(field: str, detail: str) -> dict[str, str]:
    return {"field": field, "detail": detail}
