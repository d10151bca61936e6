"""The bodies of the calls on a pending request."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar
from uuid import UUID

from msgspec import Meta

from approvals.bodies import MAX_TEXT, Text, Word, unstorable
from approvals.states import Decision
from core.web.fields import Body, one_of, says, text

DAY = 24 * 3600
#: Seconds: the usual and the longest claim, the longest snooze, and the farthest new deadline.
USUAL_CLAIM, LONGEST_CLAIM, LONGEST_SNOOZE, LONGEST_EXTENSION = 300, 3600, 30 * DAY, 30 * DAY
#: The most items of one batch, and the decisions that it takes. Other arguments are for the call of one request.
MOST_AT_ONCE = 100
BATCH_DECISIONS = [kind.value for kind in Decision if kind is not Decision.EDIT]

Note = Annotated[Text, says("For the staff.")]
Username = Annotated[Word, says("The name of a person who may answer in this project.")]
GroupName = Annotated[Word, says("The name of a group that sees this project, with a member who may answer.")]


class ApprovalClaim(Body, frozen=True):
    lease_secs: Annotated[int, Meta(ge=1, le=LONGEST_CLAIM), says(f"{USUAL_CLAIM} without it.")] | None = None


class ApprovalRelease(Body, frozen=True):
    pass


class ApprovalDelegation(Body, frozen=True):
    user: Username | None = None
    group: GroupName | None = None
    note: Note | None = None

    rules: ClassVar[dict[str, Any]] = {
        "oneOf": [
            {"required": [one], "properties": {one: {"type": "string"}, other: {"type": "null"}}}
            for one, other in (("user", "group"), ("group", "user"))
        ]
    }


class ApprovalSnooze(Body, frozen=True):
    for_secs: Annotated[int, Meta(ge=0, le=LONGEST_SNOOZE), says("0 ends the snooze.")]


class ApprovalAskBack(Body, frozen=True):
    question: Annotated[str, text(MAX_TEXT, 1, check=unstorable, says="For the asker.")]


class ApprovalQuestionAnswer(Body, frozen=True):
    answer: Annotated[str, text(MAX_TEXT, 1, check=unstorable, says="For the person who asked.")]


class ApprovalExtension(Body, frozen=True):
    expires_in_secs: Annotated[int, Meta(ge=1, le=LONGEST_EXTENSION), says("From now. Later than the deadline.")]
    note: Note | None = None


class ApprovalReminder(Body, frozen=True):
    note: Note | None = None


class ApprovalEscalation(Body, frozen=True):
    user: Username | None = None
    group: GroupName | None = None
    note: Note | None = None

    rules: ClassVar[dict[str, Any]] = {
        "anyOf": [{"properties": {"user": {"type": "null"}}}, {"properties": {"group": {"type": "null"}}}]
    }


class ApprovalBatchItem(Body, frozen=True, kw_only=True):
    id: UUID
    digest: Annotated[str, text(least=1, says="As shown.")]
    decision: Annotated[str, one_of(BATCH_DECISIONS)]
    version: Annotated[int, says("As shown. Without it, the digest alone is compared.")] | None = None
    message: Annotated[Text, says("For the agent.")] | None = None
    note: Note | None = None


class ApprovalBatch(Body, frozen=True):
    items: Annotated[list[ApprovalBatchItem], Meta(min_length=1, max_length=MOST_AT_ONCE)]
