"""The bodies of the approval calls. The operations check their values, because requests and decisions also come over a
connection and from forms.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar
from uuid import UUID

from msgspec import Meta

from approvals.states import Decision, Fallback, Reversibility, Risk
from core.web.fields import Body, one_of, says, shaped, text
from core.web.openapi import values
from wardroom import strict

MAX_WORD = 256
MAX_TEXT = 16 * 1024
MAX_EXPIRES_SECS = 400 * 24 * 3600
#: The bound of the frame, too. Each wrong item is told, so the number of items bounds the size of a refusal.
MAX_KINDS = 16


def unstorable(value: str) -> str | None:
    """Return why a text cannot be stored, or None."""
    return None if strict.is_storable(value) else "holds a character that cannot be stored"


def _mixed(value: list[str]) -> str | None:
    if Decision.RESPOND in value and (Decision.APPROVE in value or Decision.EDIT in value):
        return "`respond` answers a question: it cannot stand beside `approve` or `edit`"
    return None


Word = Annotated[str, text(MAX_WORD, 1, check=unstorable)]
OptionalWord = Annotated[str, text(MAX_WORD, check=unstorable)]
Text = Annotated[str, text(MAX_TEXT, check=unstorable)]
Arguments = Annotated[dict[str, Any], shaped(values.json_object("ExactJsonValue"))]
RequestId = Annotated[Word, says("Unguessable; the same id is the same request.")]
AskedArguments = Annotated[Arguments, says("At most 512 KiB.")]
AskedRisk = Annotated[str, one_of(Risk.values, says="An ask may only raise it.")]
AskedReversibility = Annotated[
    str, one_of(Reversibility.values, says="Whether the effect can be undone. Without it: `irreversible`.")
]
Kind = Annotated[str, one_of(Decision.values)]

_KINDS: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_KINDS,
    "items": values.choice(Decision.values),
}
# `respond` answers a question: it cannot stand beside `approve` or `edit`.
_NOT_MIXED = {
    "if": {"contains": {"const": Decision.RESPOND.value}},
    "then": {"items": {"enum": [Decision.RESPOND.value, Decision.DENY.value]}},
}
Kinds = Annotated[
    list[Kind],
    Meta(min_length=1, max_length=MAX_KINDS),
    shaped(_KINDS | _NOT_MIXED, right=f"an array of some of {', '.join(Decision.values)}", check=_mixed),
]


class ApprovalAsk(Body, frozen=True, kw_only=True):
    session: UUID | None = None
    request_id: RequestId
    tool_name: Word
    permission: Word
    resource: Text
    question: Text | None = None
    arguments: AskedArguments | None = None
    tool_call_id: OptionalWord | None = None
    tool_schema_version: OptionalWord | None = None
    risk: AskedRisk | None = None
    reversibility: AskedReversibility | None = None
    allowed_decisions: Kinds | None = None
    expires_in_secs: Annotated[int, Meta(ge=1, le=MAX_EXPIRES_SECS)] | None = None


def _answers(kind: Decision, required: list[str], **members: Any) -> dict[str, Any]:
    """Return the JSON Schema rule for one kind of decision: its required members, and `arguments` only for an edit."""
    found = {"arguments": {"type": "null"}, **members}
    return {
        "if": {"properties": {"decision": {"const": kind.value}}},
        "then": {"required": required, "properties": found},
    }


class ApprovalAnswer(Body, frozen=True, kw_only=True):
    decision: Kind
    digest: Annotated[str, text(says="As shown; required to approve or edit.")] | None = None
    version: int | None = None
    message: Annotated[Text, says("For the agent.")] | None = None
    note: Annotated[Text, says("For the staff.")] | None = None
    arguments: Annotated[Arguments, says("The arguments to run; only for `edit`.")] | None = None

    rules: ClassVar[dict[str, Any]] = {
        **_answers(Decision.EDIT, ["digest", "arguments"], digest={"type": "string"}, arguments={"type": "object"}),
        "else": {
            **_answers(Decision.APPROVE, ["digest"], digest={"type": "string"}),
            "else": {
                **_answers(Decision.RESPOND, ["message"], message={"type": "string", "minLength": 1}),
                "else": {"properties": {"arguments": {"type": "null"}}},
            },
        },
    }


class ApprovalWithdrawal(Body, frozen=True):
    reason: Text | None = None


class ApprovalConsumption(Body, frozen=True):
    digest: Annotated[str, text(least=1, right="the digest of the action that is about to run")]
    claim: Annotated[str, text(MAX_WORD, 1)] | None = None


class ApprovalFallback(Body, frozen=True):
    action: Annotated[str, one_of(Fallback.values)]
