"""The shapes of the approval calls, for the OpenAPI document alone: verbs judge what comes in."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers as rest

from accounts.outlines import outline
from approvals.states import CancelReason, Decision, Over, Risk, Status, Via

TIMEOUT = OpenApiParameter("timeout", float, description="Seconds to wait, at most 25.")
FILTERS = [
    OpenApiParameter("status", str, description=f"Some of {', '.join(Status.values)}, comma-separated."),
    OpenApiParameter("session", OpenApiTypes.UUID, description="Asked by this session."),
    OpenApiParameter("tool", str, description="For this tool."),
    OpenApiParameter("unconsumed", bool, description="Approved, and never run."),
]
PAGE = [
    OpenApiParameter("cursor", str, description="`next` of the page before."),
    OpenApiParameter("limit", int, description="At most 200."),
]

Fields = dict[str, rest.Field]


def _words(words: type[Status] | type[Risk] | type[Decision] | type[Over] | type[Via] | type[CancelReason]) -> str:
    return f"One of {', '.join(words.values)}."


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
        "kind": rest.CharField(help_text=_words(Decision)),
        "message": rest.CharField(allow_null=True, help_text="For the agent."),
        "arguments": rest.DictField(allow_null=True, help_text="What was approved to run."),
        "via": rest.CharField(help_text=_words(Via)),
    },
    allow_null=True,
)


def _asked(shown: bool) -> Fields:
    """What is asked for; one that is shown has all of it, and one that is handed in need not."""
    return {
        "request_id": rest.CharField(help_text="Unguessable; the same id is the same request."),
        "tool_name": rest.CharField(),
        "permission": rest.CharField(),
        "resource": rest.CharField(),
        "question": rest.CharField(allow_null=True, required=shown),
        "arguments": rest.DictField(allow_null=True, required=shown),
        "tool_call_id": rest.CharField(allow_null=True, required=shown),
        "tool_schema_version": rest.CharField(allow_null=True, required=shown),
        "risk": rest.CharField(allow_null=True, required=shown, help_text=_words(Risk) + " It may raise, never lower."),
        "allowed_decisions": rest.ListField(child=rest.CharField(), required=shown, help_text=_words(Decision)),
    }


_approval: Fields = {
    "id": rest.UUIDField(),
    "project": rest.UUIDField(),
    "session": rest.UUIDField(allow_null=True),
    "attempt": rest.IntegerField(allow_null=True),
    **_asked(shown=True),
    "proposed_arguments": rest.DictField(allow_null=True, help_text="What was asked for before an edit."),
    "over": rest.CharField(help_text=_words(Over)),
    "status": rest.CharField(help_text=_words(Status)),
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
    "cancel_reason": rest.CharField(allow_null=True, help_text=_words(CancelReason)),
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
Ask = outline(
    "ApprovalAsk",
    {
        "session": rest.UUIDField(allow_null=True, required=False),
        **_asked(shown=False),
        "expires_in_secs": rest.IntegerField(allow_null=True, required=False, min_value=1),
    },
)
Answer = outline(
    "ApprovalAnswer",
    {
        "decision": rest.CharField(help_text=_words(Decision)),
        "digest": rest.CharField(required=False, help_text="As shown; required to approve or edit."),
        "version": rest.IntegerField(allow_null=True, required=False),
        "message": rest.CharField(allow_null=True, required=False, help_text="For the agent."),
        "note": rest.CharField(allow_null=True, required=False, help_text="For the staff."),
        "arguments": rest.DictField(allow_null=True, required=False, help_text="What shall run; only for `edit`."),
    },
)
Withdrawal = outline("ApprovalWithdrawal", {"reason": rest.CharField(allow_null=True, required=False)})
Consumption = outline(
    "ApprovalConsumption",
    {"digest": rest.CharField(), "claim": rest.CharField(allow_null=True, required=False)},
)
