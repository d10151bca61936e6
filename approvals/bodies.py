"""The bodies of the approval calls. The operations check their values, because requests and decisions also come over a
connection and from forms.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar
from uuid import UUID

from msgspec import Meta

from approvals.grants import bounds
from approvals.states import Decision, Fallback, GrantScope, Reversibility, Risk
from core.web.fields import Body, one_of, says, shaped, text
from core.web.openapi import values
from wardroom import strict

MAX_WORD = 256
MAX_TEXT = 16 * 1024
MAX_PRECONDITIONS, MAX_SHOWN = 32, 1024
MAX_EXPIRES_SECS = 400 * 24 * 3600
#: The bound of the frame, too. Each wrong item is told, so the number of items bounds the size of a refusal.
MAX_KINDS = 16


def unstorable(value: str) -> str | None:
    """Return why a text cannot be stored, or None."""
    return None if strict.is_storable(value) else "holds a character that cannot be stored"


FactHash = Annotated[str, text(MAX_WORD, 1, check=unstorable, says="A hash, or another short word for the value.")]
Word = Annotated[str, text(MAX_WORD, 1, check=unstorable)]
OptionalWord = Annotated[str, text(MAX_WORD, check=unstorable)]
Text = Annotated[str, text(MAX_TEXT, check=unstorable)]
Arguments = Annotated[dict[str, Any], shaped(values.json_object("ExactJsonValue"))]
RequestId = Annotated[Word, says("Unguessable; the same id is the same request.")]
AskedArguments = Annotated[Arguments, says("At most 512 KiB.")]
AskedRisk = Annotated[
    str, one_of(Risk.values, says="An ask may only raise it above `medium`: `low` is stored as that.")
]
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
    shaped(
        _KINDS | _NOT_MIXED,
        right=f"an array of some of {', '.join(Decision.values)}",
        check=lambda value: (
            "`respond` answers a question: it cannot stand beside `approve` or `edit`"
            if Decision.RESPOND in value and (Decision.APPROVE in value or Decision.EDIT in value)
            else None
        ),
    ),
]


def _repeated(value: list[Any]) -> str | None:
    names = [each["name"] if isinstance(each, dict) else each.name for each in value]
    return None if len(set(names)) == len(names) else "names the same precondition twice"


class Precondition(Body, frozen=True):
    """A fact that the action depends on: a file's hash, a git head, the version of a row."""

    name: Word
    value_hash: FactHash
    shown: Annotated[str, text(MAX_SHOWN, check=unstorable, says="The value as staff read it.")]


class StatedFact(Body, frozen=True):
    """The value that a precondition has now, as the executor finds it."""

    name: Word
    value_hash: FactHash


Preconditions = Annotated[
    list[Precondition],
    Meta(max_length=MAX_PRECONDITIONS, description="Facts that the action depends on. Part of the digest."),
    Meta(extra={"check": _repeated}),
]
StatedFacts = Annotated[
    list[StatedFact],
    Meta(max_length=MAX_PRECONDITIONS, description="The preconditions as they are now. Another value: 409 `stale`."),
    Meta(extra={"check": _repeated}),
]


class PlanStep(Body, frozen=True, kw_only=True):
    """Calls that a plan announces: of one tool, with these arguments, so many times."""

    tool_name: Word
    permission: Word
    resource: Annotated[Text, says("The resource of these calls.")] | None = None
    glob: Annotated[str, bounds.PATTERN, says("Instead of `resource`: every resource that it matches.")] | None = None
    arguments: Annotated[Arguments, says("The arguments that are equal.")] | None = None
    patterns: Annotated[dict[str, Any], bounds.PATTERNS] | None = None
    count: Annotated[int, Meta(ge=1, le=bounds.MOST_CALLS), says("1 without it.")] | None = None
    risk: AskedRisk | None = None
    reversibility: AskedReversibility | None = None

    rules: ClassVar[dict[str, Any]] = {
        "oneOf": [
            {"required": [one], "properties": {one: {"type": "string"}, other: {"type": "null"}}}
            for one, other in (("resource", "glob"), ("glob", "resource"))
        ]
    }


class PlanAsk(Body, frozen=True, kw_only=True):
    """A manifest of steps that are approved at once. The gravest of them rules the whole."""

    steps: Annotated[list[PlanStep], Meta(min_length=1, max_length=bounds.MOST_STEPS)]
    ordered: Annotated[bool, says("A step may be taken only after all calls of the steps before it.")] | None = None
    expires_in_secs: (
        Annotated[int, Meta(ge=1, le=bounds.LONGEST_SECS), says(f"From the approval. {bounds.USUAL_SECS} without it.")]
        | None
    ) = None


JsonSchema = Annotated[dict[str, Any], shaped(values.json_object("ExactJsonValue"))]
#: Their bounds are checked by `approvals.json_schema`, with the arguments.
ToolSchema = Annotated[
    JsonSchema, says("The JSON Schema of the arguments: at most 64 KiB. The arguments must fit it, edited or not.")
]
ResponseSchema = Annotated[
    JsonSchema,
    says("A flat object of strings, numbers, integers, booleans and enums: the form of the response. For `respond`."),
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
    preconditions: Preconditions | None = None
    plan: Annotated[PlanAsk, says("Instead of an action: without `arguments` and `preconditions`.")] | None = None
    tool_schema: ToolSchema | None = None
    response_schema: ResponseSchema | None = None
    expires_in_secs: Annotated[int, Meta(ge=1, le=MAX_EXPIRES_SECS)] | None = None


def _answers(kind: Decision, required: list[str], **members: Any) -> dict[str, Any]:
    """Return the JSON Schema rule for one kind of decision: its required members, and `arguments` only for an edit."""
    found = {"arguments": {"type": "null"}, **members}
    if kind is Decision.RESPOND:
        found["remember"] = {"type": "null"}
    return {
        "if": {"properties": {"decision": {"const": kind.value}}},
        "then": {"required": required, "properties": found},
    }


class Remember(Body, frozen=True):
    """What else an approval lets through: later requests for the same action, within bounds."""

    scope: Annotated[str, one_of(GrantScope.values, says="The session that asked, it and its descendants, its role.")]
    exact: Annotated[bool, says("The same action. So it is without `slots`, too.")] | None = None
    slots: Annotated[dict[str, Any], bounds.SLOTS] | None = None
    uses: Annotated[int, Meta(ge=1, le=bounds.MOST_USES), says("Requests. Without it: the most.")] | None = None
    expires_in_secs: (
        Annotated[int, Meta(ge=1, le=bounds.LONGEST_SECS), says(f"{bounds.USUAL_SECS} without it.")] | None
    ) = None

    rules: ClassVar[dict[str, Any]] = {
        "if": {"required": ["slots"], "properties": {"slots": {"type": "object"}}},
        "then": {"properties": {"exact": {"enum": [False, None]}}},
        "else": {"properties": {"exact": {"enum": [True, None]}}},
    }


class ApprovalAnswer(Body, frozen=True, kw_only=True):
    decision: Kind
    digest: Annotated[str, text(says="As shown; required to approve or edit.")] | None = None
    version: int | None = None
    message: Annotated[Text, says("For the agent.")] | None = None
    note: Annotated[Text, says("For the staff.")] | None = None
    arguments: Annotated[Arguments, says("The arguments to run; only for `edit`.")] | None = None
    remember: Annotated[Remember, says("Also answer later requests, by a grant. With `approve` or `edit`.")] | None = (
        None
    )
    break_glass: Annotated[Text, says("Why you answer your own request under four eyes.")] | None = None
    response: (
        Annotated[Arguments, says("Only for `respond`, and required if the request has a schema for it.")] | None
    ) = None

    rules: ClassVar[dict[str, Any]] = {
        **_answers(Decision.EDIT, ["digest", "arguments"], digest={"type": "string"}, arguments={"type": "object"}),
        "else": {
            **_answers(Decision.APPROVE, ["digest"], digest={"type": "string"}),
            "else": {
                **_answers(Decision.RESPOND, []),
                "else": {
                    "properties": {
                        "arguments": {"type": "null"},
                        "remember": {"type": "null"},
                        "response": {"type": "null"},
                    }
                },
            },
        },
    }


class ApprovalWithdrawal(Body, frozen=True):
    reason: Text | None = None


class ApprovalConsumption(Body, frozen=True):
    digest: Annotated[str, text(least=1, right="the digest of the action that is about to run")]
    claim: Annotated[str, text(MAX_WORD, 1)] | None = None
    preconditions: StatedFacts | None = None


class ApprovalFallback(Body, frozen=True):
    action: Annotated[str, one_of(Fallback.values)]
