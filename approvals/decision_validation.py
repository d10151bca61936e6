"""Validate a person's decision against the row that they were shown, in the order that the design fixes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from approvals import canonical_action
from approvals.bodies import ApprovalAnswer, ApprovalWithdrawal, Remember
from approvals.grants import remembering
from approvals.json_schema import responses, validation
from approvals.models import Approval
from approvals.plans import manifests
from approvals.states import LEADS_TO, RUNS, Decision, Status
from core.display import placeholders
from core.web import faults, problems, request_body
from wardroom import jcs


class Answer(ApprovalAnswer, frozen=True, kw_only=True):
    """An unchecked decision. The state of the approval is checked before any field of it is read.

    `unknown` are the names of further members, which are refused with the wrong ones.
    """

    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """The next status and the columns that a valid decision writes."""

    status: Status
    columns: dict[str, Any]
    remember: Remember | None = None


def validate(approval: Approval, answer: Answer) -> Change:
    """Return the change that this decision makes.

    Raises digest-mismatch, then version-conflict, then invalid with every wrong field.
    """
    if answer.digest is not None and canonical_action.as_hex(answer.digest) != approval.digest:
        raise problems.conflict("The action is not the one that you were shown.", "digest-mismatch")
    is_number = isinstance(answer.version, int) and not isinstance(answer.version, bool)
    if is_number and answer.version != approval.version:
        raise problems.conflict(
            f"The request changed: it is at version {approval.version}.",
            "version-conflict",
            version=approval.version,
        )
    errors = _kind_errors(approval, answer)
    errors += [_error(faults.step("", name), problems.UNKNOWN) for name in answer.unknown]
    said = {name: getattr(answer, name) for name in ApprovalAnswer.__struct_fields__}
    named = {error["field"] for error in errors}
    errors += [error for error in request_body.errors(said, ApprovalAnswer) if error["field"] not in named]
    if errors:
        raise problems.invalid(errors, "This answer is not valid.")
    kind = Decision(answer.decision)
    columns: dict[str, Any] = {
        "decision_kind": kind,
        "message": answer.message or None,
        "note": answer.note or None,
        "response": answer.response,
    }
    if kind is Decision.EDIT:
        arguments = with_originals(answer.arguments, approval.arguments)
        if approval.is_plan:
            arguments = manifests.narrowed(approval.arguments, arguments)
        action = canonical_action.edited(approval.action, arguments)
        if approval.has_tool_schema:
            check_fit(approval, arguments)
        columns |= {
            "action": action,
            "digest": jcs.digest_of(action),
            "proposed_action": approval.action,
            "proposed_digest": approval.digest,
        }
    remember = None
    if answer.remember is not None:
        remember = request_body.convert(answer.remember, Remember)
        wrong = list(remembering.errors(approval, remember, columns.get("action", approval.action)))
        if wrong:
            raise problems.invalid(wrong, "This answer cannot be remembered like this.")
        columns["remembered"] = uuid4()
    return Change(LEADS_TO[kind], columns, remember)


def with_originals(arguments: Any, shown: Any) -> Any:
    """Return edited arguments with the hidden values of those that were shown. Raises invalid for a placeholder that
    stands for nothing at its place.
    """
    try:
        return placeholders.restored(arguments, shown)
    except placeholders.CannotRestore as wrong:
        errors = [_error(functools.reduce(faults.step, path, "arguments"), why) for path, why in wrong.wrong]
        raise problems.invalid(errors, "A hidden value cannot be kept there.") from None


def _kind_errors(approval: Approval, answer: Answer) -> list[dict[str, str]]:
    kind = answer.decision
    if kind not in approval.allowed_decisions:
        return [faults.wrong("decision", kind, faults.one_of(approval.allowed_decisions))]
    errors = []
    if kind in (Decision.APPROVE, Decision.EDIT) and answer.digest is None:
        errors.append(faults.wrong("digest", answer.digest, "the digest of the action that you were shown"))
    if kind == Decision.EDIT and not isinstance(answer.arguments, dict):
        errors.append(faults.wrong("arguments", answer.arguments, "a JSON object of the arguments to run instead"))
    if kind != Decision.EDIT and answer.arguments is not None:
        errors.append(_error("arguments", "only an `edit` has arguments"))
    if kind not in RUNS and answer.remember is not None:
        errors.append(_error("remember", "only an approval can be remembered"))
    return errors + _response_errors(approval, answer)


def _response_errors(approval: Approval, answer: Answer) -> list[dict[str, str]]:
    """Return what is wrong with the words or the form of a response."""
    responds, schema = answer.decision == Decision.RESPOND, approval.response_schema
    if schema is not None and responds:
        if isinstance(answer.response, dict):
            return responses.errors("response", schema, answer.response)
        return [faults.wrong("response", answer.response, "a JSON object that fits `response_schema`")]
    errors = []
    if responds and not answer.message:
        errors.append(faults.wrong("message", answer.message or None, "the answer, a string that is not empty"))
    if answer.response is not None:
        why = "only a `respond` has a response" if schema is not None else "this request has no form for a response"
        errors.append(_error("response", why))
    return errors


def check_fit(approval: Approval, arguments: Any) -> None:
    """Raise invalid with the path of each error unless the arguments fit the schema of their tool."""
    if errors := validation.errors("arguments", approval.tool_schema.schema, arguments):
        raise problems.invalid(errors, "The arguments do not fit the schema of the tool.")


def check_reason(reason: Any) -> None:
    """Raise invalid unless the reason of a withdrawal is absent or a text that can be stored."""
    if errors := list(request_body.errors({"reason": reason}, ApprovalWithdrawal)):
        raise problems.invalid(errors)


def _error(field: str, detail: str) -> dict[str, str]:
    return {"field": field, "detail": detail}
