"""Handle the approval frames of a connection by calling the operations of `approvals`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from approvals import consumption, decisions, requests, schemas
from approvals.canonical_action import Ask
from approvals.life import ask_back, preconditions
from approvals.models import Approval
from core.web.paths import uuid_of
from core.web.problems import Problem, invalid
from ledger import unit_of_work
from orchestration.connections.fencing import Claim, fenced_transaction
from wardroom.protocol import (
    ApprovalAck,
    ApprovalAnswer,
    ApprovalAnswered,
    ApprovalConsumed,
    ApprovalQuestion,
    ApprovalRegistered,
    ApprovalReply,
    ApprovalRequest,
    ApprovalWithdraw,
    Frame,
)


def register(connection: Claim, frame: ApprovalRequest) -> list[Frame]:
    """Store the request. Return its registration, and the decision if there is one already.

    A child that repeats a request, for example after a restart, gets the decision again.
    """
    body = msgspec.structs.asdict(frame.body)
    if connection.plain and frame.body.preconditions:
        # It runs what it is told at once, and could not state them again.
        raise invalid([{"field": "body.preconditions", "detail": "a plain child has none"}])
    with fenced_transaction(connection):
        ask = Ask(session=connection.session_id, attempt=connection.attempt, request_id=frame.id, **body)
        approval, created = requests.ask(connection.project_id, ask, actor=connection.actor, via="connection")
    decision: list[Frame] = [] if created or approval.status == "pending" else [reply(approval)]
    if connection.plain:
        return decision
    status: Any = str(approval.status)
    registered = ApprovalRegistered(
        id=approval.request_id,
        approval_id=str(approval.id),
        status=status,
        digest=approval.digest,
        expires_at=schemas.moment(approval.expires_at),
    )
    return [registered, *decision]


def acknowledge(connection: Claim, frame: ApprovalAck) -> list[Frame]:
    """Record the child's acknowledgement of a decision.

    `received`: the decision need not be sent again. `consumed`: take the one execution, for the one claim.
    """
    with preconditions.noting(), fenced_transaction(connection):
        if frame.state == "received":
            consumption.acknowledge(connection.session_id, connection.attempt, frame.id)
            return []
        consumption.consume_request(
            connection.session_id,
            connection.attempt,
            frame.id,
            digest=frame.digest,
            claim=frame.claim,
            preconditions=frame.preconditions,
            actor=connection.actor,
            is_fenced=True,
        )
    return [ApprovalConsumed(id=frame.id)]


def withdraw(connection: Claim, frame: ApprovalWithdraw) -> None:
    """Withdraw a request that the tool no longer needs."""
    with fenced_transaction(connection):
        decisions.withdraw_request(connection.session_id, connection.attempt, frame.id, connection.actor, frame.reason)


def settle_plain(connection: Claim, frame: ApprovalReply) -> None:
    """Record a reply that was written to a plain child: it counts as received, and an approval as consumed.

    The child may have got the same reply before, because it repeated its request. Then the execution is taken already,
    and that refusal is ignored.
    """
    with fenced_transaction(connection):
        consumption.acknowledge(connection.session_id, connection.attempt, frame.id)
        if frame.approved:
            with suppress(Problem), unit_of_work.savepoint():
                consumption.consume_request(
                    connection.session_id,
                    connection.attempt,
                    frame.id,
                    digest=frame.digest,
                    actor=connection.actor,
                    is_fenced=True,
                )


def answer(connection: Claim, frame: ApprovalAnswer) -> ApprovalAnswered:
    """Store the answer to a question about a request of this attempt. The same answer again is the same answer."""
    with fenced_transaction(connection):
        ask_back.answer(connection.project_id, uuid_of(frame.id), frame.answer, connection.actor)
    return ApprovalAnswered(id=frame.id)


def undelivered(connection: Claim, *, need_run: bool) -> list[ApprovalReply | ApprovalQuestion]:
    """Return the decisions that this attempt has not acknowledged; with `need_run` also those not consumed.

    The open questions about its pending requests are among them. A plain child gets none: it cannot answer.
    """
    found = consumption.unacknowledged(
        connection.session_id, connection.attempt, include_unconsumed=need_run, include_questions=not connection.plain
    )
    asked = [approval for approval in found if approval.status == "pending"]
    questions = [
        ApprovalQuestion(
            id=str(each.id),
            request=each.approval.request_id,
            approval_id=str(each.approval_id),
            question=each.question,
        )
        for each in (ask_back.unanswered(asked) if asked else ())
    ]
    return [*(reply(approval) for approval in found if approval.status != "pending"), *questions]


def reply(approval: Approval) -> ApprovalReply:
    """Return the frame of a decision."""
    return msgspec.convert(schemas.reply_frame(approval), ApprovalReply)
