"""The shapes of the approval calls, for the OpenAPI document only. The operations validate the input."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers as rest

from approvals.canonical_action import MAX_EXPIRES_SECS, MAX_TEXT, MAX_WORD
from approvals.states import CancelReason, Decision, RequestVia, Risk, Status, Via
from core.web.openapi import values
from core.web.openapi.values import Shaped, in_query
from core.web.outlines import order, outline
from ledger import long_poll

TIMEOUT = in_query(
    "timeout",
    {"type": "number", "minimum": 0, "maximum": long_poll.LONGEST_WAIT},
    f"Seconds to wait; no call is held for longer than `held_call_secs`, which is also the default. {long_poll.BOUND}",
)
FILTERS = [
    in_query("status", values.words(Status.values), "Some of these, comma-separated."),
    in_query("session", {"type": "string", "format": "uuid"}, "Asked by this session."),
    in_query("tool", values.text(), "For this tool."),
    in_query("unconsumed", {"type": "boolean"}, "Approved, and never run."),
]
FILTER_NAMES = tuple(parameter.name for parameter in FILTERS)

Fields = dict[str, rest.Field]


_WORD = values.text(MAX_WORD, least=1)
_LONG_WORD = values.text(MAX_WORD)
_TEXT = values.text(MAX_TEXT)
_ARGUMENTS = values.json_object("ExactJsonValue")


_person = outline(
    "ApprovalPerson",
    {
        "kind": rest.CharField(),
        "id": rest.CharField(),
        "name": rest.CharField(),
        "user": rest.CharField(allow_null=True),
    },
    allow_null=True,
)
_decision = outline(
    "ApprovalDecision",
    {
        "kind": Shaped(values.choice(Decision.values)),
        "message": rest.CharField(allow_null=True, help_text="For the agent."),
        "arguments": rest.DictField(allow_null=True, help_text="The arguments that were approved to run."),
        "via": Shaped(values.choice(Via.values)),
    },
    allow_null=True,
)


_SHOWN_ALLOWED: dict[str, Any] = {"type": "array", "minItems": 1, "items": values.choice(Decision.values)}
# `respond` answers a question: it cannot stand beside `approve` or `edit`.
_ALLOWED = _SHOWN_ALLOWED | {
    "if": {"contains": {"const": Decision.RESPOND.value}},
    "then": {"items": {"enum": [Decision.RESPOND.value, Decision.DENY.value]}},
}


def _asked(shown: bool) -> Fields:
    """Return the fields of a request. In an answer every field is present; in a call some may be left out."""
    return {
        "request_id": Shaped(_WORD, help_text="Unguessable; the same id is the same request."),
        "tool_name": Shaped(_WORD),
        "permission": Shaped(_WORD),
        "resource": Shaped(_TEXT),
        "question": Shaped(_TEXT, allow_null=True, required=shown),
        "arguments": Shaped(_ARGUMENTS, allow_null=True, required=shown, help_text="At most 512 KiB."),
        "tool_call_id": Shaped(_LONG_WORD, allow_null=True, required=shown),
        "tool_schema_version": Shaped(_LONG_WORD, allow_null=True, required=shown),
        "risk": Shaped(
            values.choice(Risk.values),
            allow_null=True,
            required=shown,
            help_text="An ask may only raise it.",
        ),
        "allowed_decisions": Shaped(_ALLOWED if not shown else _SHOWN_ALLOWED, required=shown),
    }


_approval: Fields = {
    "id": rest.UUIDField(),
    "project": rest.UUIDField(),
    "session": rest.UUIDField(allow_null=True),
    "attempt": rest.IntegerField(allow_null=True),
    **_asked(shown=True),
    "proposed_arguments": rest.DictField(allow_null=True, help_text="The requested arguments before an edit."),
    "via": Shaped(values.choice(RequestVia.values)),
    "status": Shaped(values.choice(Status.values)),
    "version": rest.IntegerField(),
    "digest": rest.CharField(help_text="SHA-256 of the canonical action that may run."),
    "proposed_digest": rest.CharField(allow_null=True),
    "expires_at": rest.DateTimeField(allow_null=True),
    "requested_at": rest.DateTimeField(),
    "requested_by": _person,
    "decided_at": rest.DateTimeField(allow_null=True),
    "decided_by": _person,
    "decision": _decision,
    "settled_at": rest.DateTimeField(allow_null=True),
    "cancel_reason": Shaped(values.choice(CancelReason.values), allow_null=True),
    "delivered_at": rest.DateTimeField(allow_null=True),
    "consumed_at": rest.DateTimeField(allow_null=True),
    "waiters": rest.IntegerField(),
}

Approval = outline("Approval", _approval)
Waited = outline("ApprovalWaited", {**_approval, "timed_out": rest.BooleanField()})
ApprovalPage = outline(
    "ApprovalPage",
    {"results": type(Approval)(many=True), "next": rest.CharField(allow_null=True)},
)
Counts = outline(
    "ApprovalCounts",
    {
        "count": rest.IntegerField(),
        **{status.value: rest.IntegerField() for status in Status},
        "unconsumed": rest.IntegerField(),
        "oldest_pending_at": rest.DateTimeField(allow_null=True),
    },
)
Ask = order(
    "ApprovalAsk",
    {
        "session": rest.UUIDField(allow_null=True, required=False),
        **_asked(shown=False),
        "expires_in_secs": Shaped(
            {"type": "integer", "minimum": 1, "maximum": MAX_EXPIRES_SECS}, allow_null=True, required=False
        ),
    },
)


def _answers(kind: Decision, required: list[str], **members: Any) -> dict[str, Any]:
    """Return the JSON Schema rule for one kind of decision: its required members, and `arguments` only for an edit."""
    found = {"arguments": {"type": "null"}, **members}
    return {
        "if": {"properties": {"decision": {"const": kind.value}}},
        "then": {"required": required, "properties": found},
    }


_BY_KIND: dict[str, Any] = {
    **_answers(Decision.EDIT, ["digest", "arguments"], digest={"type": "string"}, arguments={"type": "object"}),
    "else": {
        **_answers(Decision.APPROVE, ["digest"], digest={"type": "string"}),
        "else": {
            **_answers(Decision.RESPOND, ["message"], message={"type": "string", "minLength": 1}),
            "else": {"properties": {"arguments": {"type": "null"}}},
        },
    },
}
Answer = order(
    "ApprovalAnswer",
    {
        "decision": Shaped(values.choice(Decision.values)),
        "digest": Shaped(values.text(), required=False, help_text="As shown; required to approve or edit."),
        "version": Shaped({"type": "integer"}, required=False),
        "message": Shaped(_TEXT, required=False, help_text="For the agent."),
        "note": Shaped(_TEXT, required=False, help_text="For the staff."),
        "arguments": Shaped(_ARGUMENTS, required=False, help_text="The arguments to run; only for `edit`."),
    },
    **_BY_KIND,
)
Withdrawal = order("ApprovalWithdrawal", {"reason": Shaped(_TEXT, required=False)})
Consumption = order(
    "ApprovalConsumption",
    {"digest": Shaped(values.text(least=1)), "claim": Shaped(_WORD, required=False)},
)
