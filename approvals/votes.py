"""Votes: a request for several people is approved by the last of them, and denied by the first denial.

Every vote is for the one digest that was shown. Nobody may edit such a request, because the others would have approved
another action. One person counts once, whichever of their keys they use.
"""

from __future__ import annotations

from accounts.actors import Actor
from approvals import audit_events, permissions
from approvals.models import Approval, Step, Vote
from approvals.states import Status, StepKind
from core.db import returning
from core.db.clock import database_now
from ledger import unit_of_work


def add(
    approval: Approval,
    actor: Actor,
    via: str,
    message: str | None,
    note: str | None,
    break_glass: str | None = None,
) -> int | None:
    """Record this person's vote and return the number of votes, or None if the request has changed since it was read.

    The lock on the request's row puts concurrent votes in order, so exactly one of them is the last that was needed.
    Only votes of people with the right to answer count. A repeated vote changes nothing.
    """
    with unit_of_work.transaction():
        current = Approval.objects.select_for_update(no_key=True).filter(id=approval.id, status=Status.PENDING)
        if not current.filter(version=approval.version, digest=approval.digest).in_time(database_now()).exists():
            return None
        vote = returning.insert(
            Vote(
                approval=approval,
                user=actor.user,
                by=audit_events.person(actor),
                at=database_now(),
                via=via,
                digest=approval.digest,
                message=message,
                note=note,
            )
        )
        able = permissions.approvers(approval.project_id).values("pk")
        number = Vote.objects.filter(approval=approval, digest=approval.digest, user__in=able).count()
        if vote is not None:
            # The last vote may be of somebody else, so the reason of a broken glass is written with its own vote.
            broken = {} if break_glass is None else {"break_glass": break_glass}
            [changed] = returning.update(Approval.objects.filter(id=approval.id), vote_count=number, **broken)
            if number < approval.quorum:
                told, by = {"votes": number, "quorum": approval.quorum}, audit_events.person(actor)
                Step.objects.create(
                    approval=changed, kind=StepKind.VOTED, at=database_now(), by=by, detail=told, note=note
                )
                audit_events.record_change(
                    changed, "voted", actor, reason="approve", told=told, via=via, **told, **broken
                )
        return number


def names(approval: Approval) -> list[str]:
    """Return the names of the voters, in their order."""
    return [str(vote.by.get("user") or vote.by["name"]) for vote in approval.votes.order_by("id")]
