"""Shape approvals for callers: the REST body, the current decision, and the fields of an `approval_reply`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from accounts.actors import Actor
from approvals import models, permissions
from approvals.bodies import (
    AskedArguments,
    AskedReversibility,
    AskedRisk,
    Kind,
    OptionalWord,
    Precondition,
    RequestId,
    Text,
    Word,
)
from approvals.display import copies
from approvals.review import schemas as review_schemas
from approvals.review.schemas import ApprovalReview
from approvals.rules import demands
from approvals.states import RUNS, CancelReason, Decision, Fallback, Outcome, RequestVia, Status, Via
from core.db import clock
from core.web.fields import Id, Moment, one_of, says

# The message for the agent when no person wrote one.
SILENCE = {
    Status.EXPIRED: "No one answered in time. This is not a refusal.",
    Status.CANCELLED: "The request was withdrawn before anybody answered it.",
}


class ApprovalPerson(Struct, frozen=True):
    kind: str
    id: str
    name: str
    user: str | None


class StaleFact(Struct, frozen=True):
    name: str
    reason: Annotated[str, one_of(("changed", "missing", "unknown"), says="Missing: it was not stated.")]
    approved: str | None
    stated: str | None


class ApprovalAssignee(Struct, frozen=True):
    kind: Annotated[str, one_of(("user", "group"))]
    id: str
    name: str


class ApprovalRepeat(Struct, frozen=True):
    approval_id: Id
    outcome: Annotated[str, one_of(Outcome.values)]
    settled_as: Annotated[str, one_of(Outcome.values)] | None
    consumed_at: Moment | None


class ApprovalDecision(Struct, frozen=True):
    kind: Kind
    message: Annotated[str | None, says("For the agent.")]
    arguments: Annotated[dict[str, Any] | None, says("The arguments that were approved to run.")]
    response: Annotated[dict[str, Any] | None, says("The response, if the request had a form for it.")]
    via: Annotated[str, one_of(Via.values)]


class Approval(Struct, frozen=True, kw_only=True):
    id: Id
    project: Id
    session: Id | None
    attempt: int | None
    path: Annotated[list[Id], says("The sessions from the root of the tree to the one that asks.")]
    request_id: RequestId
    tool_name: Word
    permission: Word
    resource: Text
    question: Text | None
    arguments: AskedArguments | None
    tool_call_id: OptionalWord | None
    tool_schema_version: OptionalWord | None
    risk: AskedRisk | None
    reversibility: AskedReversibility
    allowed_decisions: Annotated[list[Kind], Meta(min_length=1)]
    has_tool_schema: Annotated[bool, says("An edit must fit it: `GET approvals/{id}/tool-schema`.")]
    response_schema: Annotated[dict[str, Any] | None, says("The form of a response.")]
    proposed_arguments: Annotated[dict[str, Any] | None, says("The requested arguments before an edit.")]
    via: Annotated[str, one_of(RequestVia.values)]
    status: Annotated[str, one_of(Status.values)]
    version: int
    digest: Annotated[str, says("SHA-256 of the canonical action that may run.")]
    proposed_digest: str | None
    expires_at: Moment | None
    requested_at: Moment
    requested_by: ApprovalPerson | None
    decided_at: Moment | None
    decided_by: ApprovalPerson | None
    decision: ApprovalDecision | None
    claimed_by: Annotated[ApprovalPerson | None, says("The person who looks at it, until `claimed_until`.")]
    claimed_until: Moment | None
    assigned_to: Annotated[ApprovalAssignee | None, says("The person or group that it was handed to. It is no right.")]
    escalated_at: Moment | None
    escalations: int
    rule: Annotated[str | None, says("The rule that answered it, or that says who must answer.")]
    rule_version: int | None
    policy_version: Annotated[int | None, says("The version of the project's rules, when it was asked or consumed.")]
    quorum: Annotated[int, says("So many people must approve. One denial is enough.")]
    votes: Annotated[int, says("The people who have approved so far, of more than one.")]
    four_eyes: Annotated[bool, says("The owner of the session or key that asked may not answer.")]
    approvers: Annotated[
        list[demands.RequiredApprovers], says("A person must be named by each. Empty: nobody is named.")
    ]
    reviews: Annotated[list[ApprovalReview], says("What reviewers say. A person may answer before them.")]
    break_glass: Annotated[str | None, says("Why a person answered their own request in an emergency.")]
    open_questions: Annotated[int, says("Questions to the asker without an answer: `GET approvals/{id}/questions`.")]
    settled_at: Moment | None
    cancel_reason: Annotated[str, one_of(CancelReason.values)] | None
    redacted: Annotated[int, says("The number of values that this copy of the action hides; 0 for the asker.")]
    preconditions: Annotated[list[Precondition], says("The facts that the action depends on. Part of the digest.")]
    stale_at: Annotated[Moment | None, says("A consumption found other facts. The answer is kept, and never used.")]
    stale: Annotated[list[StaleFact] | None, says("The facts that differed.")]
    delivered_at: Moment | None
    consumed_at: Moment | None
    outcome: Annotated[str, one_of(Outcome.values, says="How its run ended. `unknown`: a person has to look.")] | None
    outcome_unknown_at: Moment | None
    outcome_reported_at: Moment | None
    outcome_settled_as: Annotated[str, one_of(Outcome.values, says="By a person, after it was unknown.")] | None
    repeat_warning: Annotated[
        ApprovalRepeat | None, says("An earlier approval of this very action, which may have run already.")
    ]
    fallback: (
        Annotated[str, one_of(Fallback.values, says="What the asker did without an answer. It is no decision.")] | None
    )
    fallback_at: Moment | None
    is_plan: Annotated[bool, says("Its arguments are a manifest, and it is never consumed. See `GET plans`.")]
    plan: Annotated[Id | None, says("The plan that let it through: `GET plans`.")]
    grant: Annotated[Id | None, says("The grant that let it through: `GET grants`.")]
    remembered: Annotated[Id | None, says("The grant that was born from its answer.")]
    waiters: int
    snoozed_until: (
        Annotated[Moment | None, says("Only after `snooze`: it has left your own queue until then.")] | UnsetType
    ) = UNSET


class ApprovalRevealed(Struct, frozen=True):
    id: Id
    digest: str
    resource: str
    question: str | None
    arguments: Annotated[dict[str, Any] | None, says("The arguments that run, as they were asked for or edited.")]
    proposed_arguments: dict[str, Any] | None
    preconditions: list[Precondition]


class ApprovalReceipt(Struct, frozen=True):
    receipt: Annotated[str, says("A compact JWS (RFC 7515), signed with Ed25519.")]
    key_id: Annotated[str, says("The key, as `/.well-known/wardroom.json` names it.")]


class ApprovalWaited(Approval, frozen=True, kw_only=True):
    timed_out: bool


class ApprovalPage(Struct, frozen=True):
    results: list[Approval]
    next: str | None


class ApprovalBatchResult(Struct, frozen=True):
    id: Id
    status: Annotated[int, says("200, or the problem's.")]
    problem: dict[str, Any] | UnsetType = UNSET


class ApprovalBatchResults(Struct, frozen=True):
    results: Annotated[list[ApprovalBatchResult], says("One for each item, in the same order.")]


class ApprovalCounts(Struct, frozen=True):
    count: int
    pending: int
    approved: int
    denied: int
    expired: int
    cancelled: int
    unconsumed: int
    oldest_pending_at: Moment | None


def approval(
    row: models.Approval, viewer: Actor | None = None, *, is_raw: bool = False, runs: bool = False
) -> Approval:
    """Return the REST body of an approval: without secrets, unless the viewer is the asker or `is_raw` is set.

    A viewer that `runs` the action gets it as it is, and a copy of everything else.
    """
    for_asker = viewer is not None and permissions.owns(row, viewer)
    seen = _Seen(row, is_raw or for_asker, runs=runs)
    action = seen.action
    return Approval(
        id=str(row.id),
        request_id=row.request_id,
        project=str(row.project_id),
        session=None if row.session is None else str(row.session),
        attempt=row.attempt,
        path=row.path,
        tool_name=row.tool_name,
        tool_call_id=row.tool_call_id,
        tool_schema_version=action["tool_schema_version"],
        permission=row.permission,
        resource=action["resource"],
        question=seen.text(row.question),
        arguments=action["arguments"],
        proposed_arguments=seen.proposed,
        risk=row.risk,
        reversibility=row.reversibility,
        allowed_decisions=row.allowed_decisions,
        has_tool_schema=row.has_tool_schema,
        response_schema=seen.schema(row.response_schema),
        via=row.via,
        status=row.status,
        version=row.version,
        digest=row.digest,
        proposed_digest=row.proposed_digest,
        expires_at=moment(row.expires_at),
        requested_at=clock.moment(row.requested_at),
        requested_by=person(row.requested_by),
        claimed_by=person(row.claimed_by),
        claimed_until=moment(row.claimed_until),
        assigned_to=ApprovalAssignee(**row.assigned_to) if row.assigned_to else None,
        escalated_at=moment(row.escalated_at),
        escalations=row.escalations,
        **demands.of(row),
        reviews=review_schemas.reviews(row, for_asker=for_asker),
        open_questions=row.open_questions,
        **_outcome(row, seen),
        redacted=seen.count,
        preconditions=[Precondition(**fact) for fact in action.get("preconditions", [])],
        stale_at=moment(row.stale_at),
        stale=None if row.stale is None else [StaleFact(**fact) for fact in row.stale],
        **_execution(row),
        fallback=row.fallback,
        fallback_at=moment(row.fallback_at),
        is_plan=row.is_plan,
        plan=row.plan,
        grant=row.grant,
        remembered=None if row.remembered is None else str(row.remembered),
        waiters=getattr(row, "waiters", 0),
    )


def revealed(row: models.Approval) -> ApprovalRevealed:
    """Return the values of a request with nothing hidden."""
    whole = approval(row, is_raw=True)
    return ApprovalRevealed(**{name: getattr(whole, name) for name in ApprovalRevealed.__struct_fields__})


class _Seen:
    """The action and the texts of a request as one caller sees them: the originals, or the display copy."""

    def __init__(self, row: models.Approval, is_raw: bool, *, runs: bool = False) -> None:
        self.is_raw = is_raw
        if is_raw:
            self.action, self.count = json.loads(row.action), 0
            self.proposed = row.proposed_arguments if row.proposed_action else None
        else:
            copy = copies.of(row)
            self.action, self.proposed, self.count = copy.action, copy.proposed, copy.count
            if runs:
                self.action, self.count = json.loads(row.action), 0

    def text(self, value: str | None) -> str | None:
        return value if self.is_raw else copies.text(value)

    def value(self, value: Any) -> Any:
        return value if self.is_raw else copies.value(value)

    def schema(self, schema: Any) -> Any:
        return schema if self.is_raw else copies.schema(schema)


def waited(row: models.Approval, viewer: Actor | None, version: int | None = None) -> ApprovalWaited:
    """Return the approval, and whether the wait for it, or for a version other than `version`, ended without result."""
    timed_out = row.status == Status.PENDING and (version is None or row.version == version)
    return ApprovalWaited(**structs.asdict(approval(row, viewer)), timed_out=timed_out)


def current_decision(row: models.Approval) -> dict[str, Any]:
    """Return the current decision, for a caller that came too late. It holds no secret: nobody runs it from here."""
    outcome = msgspec.to_builtins(_outcome(row, _Seen(row, is_raw=False)))
    return {"id": str(row.id), "status": str(row.status), "digest": row.digest, **outcome}


def current_sentence(row: models.Approval) -> str:
    """Return the current decision as a sentence."""
    if row.status == Status.PENDING:
        return "Nobody has answered yet."
    at = f"{row.settled_at:%Y-%m-%d %H:%M:%S} UTC"
    if row.status == Status.CANCELLED:
        ended = row.cancel_reason == CancelReason.ATTEMPT_ENDED
        return f"{'Its attempt ended' if ended else 'It was withdrawn'} at {at}: nobody waits for it any more."
    if row.status == Status.EXPIRED:
        return f"It expired at {at}: nobody answered in time."
    return f"{display_name(row.decided_by)} {past_tense(row)} it at {at}."


def display_name(person: dict[str, Any] | None) -> str:
    """Return a person's name for display. For an API key, name its owner too."""
    if not person:
        return "Nobody"
    owned = person["kind"] == "key" and person["user"]
    return f"{person['user']}'s key {person['name']}" if owned else str(person["name"])


def past_tense(row: models.Approval) -> str:
    """Return the decision as a verb in the past tense."""
    words = {Decision.EDIT: "edited and approved", Decision.RESPOND: "answered"}
    return words.get(Decision(row.decision_kind or Decision.APPROVE), str(row.status))


def reply_frame(row: models.Approval) -> dict[str, Any]:
    """Return the fields of `approval_reply`.

    `approved` is true only for the status `approved`. Only a decision that lets the action run (approve or edit)
    carries arguments.
    """
    approved = row.status == Status.APPROVED
    return {
        "id": row.request_id,
        "approval_id": str(row.id),
        "approved": approved,
        "decision": str(row.status),
        "message": row.message or SILENCE.get(Status(row.status)),
        "arguments": row.arguments if row.decision_kind in RUNS else None,
        "response": row.response,
        "digest": row.digest,
        "version": row.version,
    }


def moment(at: datetime | None) -> str | None:
    """Format a time; None stays None."""
    return None if at is None else clock.moment(at)


def _execution(row: models.Approval) -> dict[str, Any]:
    return {
        "delivered_at": moment(row.delivered_at),
        "consumed_at": moment(row.consumed_at),
        "outcome": row.outcome,
        "outcome_unknown_at": moment(row.outcome_unknown_at),
        "outcome_reported_at": moment(row.outcome_reported_at),
        "outcome_settled_as": row.outcome_settled_as,
        "repeat_warning": None if row.repeat_warning is None else ApprovalRepeat(**row.repeat_warning),
    }


def _outcome(row: models.Approval, seen: _Seen) -> dict[str, Any]:
    decision = None
    if row.decision_kind is not None and row.decided_via is not None:
        arguments = seen.action["arguments"] if row.decision_kind in RUNS else None
        message = seen.text(row.message)
        decision = ApprovalDecision(row.decision_kind, message, arguments, seen.value(row.response), row.decided_via)
    return {
        "decided_at": moment(row.decided_at),
        "decided_by": person(row.decided_by),
        "decision": decision,
        "settled_at": moment(row.settled_at),
        "cancel_reason": row.cancel_reason,
    }


def person(person: dict[str, Any] | None) -> ApprovalPerson | None:
    """Return a person, as the row stores one, for REST."""
    return ApprovalPerson(person["kind"], person["id"], person["name"], person["user"]) if person else None
