"""Record the wait of a suspended parent, and resume the parent once.

Two transactions may check the wait at once: the one that suspends the parent, and the one that ends its last child. The
first locks the parent's row before it reads the children. The second checks the parent after its own COMMIT, under the
same lock. So one of them sees both changes, and the guarded requeue lets only one of them resume. The sweeper is the
third.
"""

import dataclasses
from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from core.db.clock import database_now, later, read_database_clock
from core.limits import LIMITS
from core.web import problems
from ledger import outages, sweep_batch, unit_of_work
from ledger.sweep_batch import Work
from orchestration.models import Session
from orchestration.sessions import transitions
from orchestration.states import TERMINAL, Status, WaitFor


class LostWait(Exception):
    """A suspended session has no recorded wait. Only a person can end or restart it."""


WORK = Work("waits_sweep", "waits")
NOT_VERIFIED = "The wait timed out. Nothing about the children was verified: ask each one before you use its work."
FAILURES = frozenset({Status.ERROR, Status.TIMEOUT, Status.CANCELLED})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The wait that a child requests. Without `children` it waits for every child that is not over now."""

    wait_for: str = WaitFor.ALL
    children: Collection[UUID] | None = None
    timeout_secs: int | None = None


def record(session: Session, wait: Wait) -> Session:
    """Store the wait of the session. The caller's transaction holds its row. Raises Problem 422."""
    children = Session.objects.filter(parent=session)
    if wait.children is None:
        named = list(
            children.exclude(status__in=sorted(TERMINAL)).order_by("created_at", "pk").values_list("pk", flat=True)
        )
    else:
        named = list(dict.fromkeys(wait.children))
        known = set(children.filter(pk__in=named).values_list("pk", flat=True))
        strangers = [str(child) for child in named if child not in known]
        if strangers:
            detail = f"not children of this session: {', '.join(strangers[:5])}"
            raise problems.invalid([{"field": "children", "detail": detail}])
    noted = {"wait_for": WaitFor(wait.wait_for).value, "children": [str(child) for child in named]}
    lease = LIMITS.wait_lease_secs
    until = later(min(wait.timeout_secs or lease, lease))
    Session.objects.filter(pk=session.pk).update(waiting_for=noted, wait_until=until, wait_extended_secs=0)
    session.refresh_from_db()
    return session


def is_over(waiting_for: dict[str, Any], statuses: dict[str, str]) -> bool:
    """Return whether nothing is left to wait for. Zero children end a wait at once. A suspended child has not ended.

    `statuses` has those of the children that exist.
    """
    ends = [status for status in statuses.values() if status in TERMINAL]
    ended, all_ended = set(ends), len(ends) == len(waiting_for["children"])
    match waiting_for["wait_for"]:
        case WaitFor.ANY:
            return all_ended or bool(ended)
        case WaitFor.FIRST_ERROR:
            return all_ended or bool(ended & FAILURES)
    return all_ended


def resume_if_over(session: Session) -> bool:
    """Queue a suspended session after its wait ended or timed out. The caller's transaction holds its row."""
    if session.status != Status.SUSPENDED or session.waiting_for is None or session.cancel_requested_at is not None:
        return False  # The cancel ends it.
    named = session.waiting_for["children"]
    found = Session.objects.filter(pk__in=named).values_list("pk", "status")
    statuses = {str(pk): status for pk, status in found}
    if is_over(session.waiting_for, statuses):
        reason = "children"
    elif _has_lasted(session):
        reason = "timeout"
    else:
        return False
    # After a timeout the payload does not claim that any child has ended.
    children = [{"session_id": child, "status": statuses.get(child)} for child in named]
    payload = {"reason": reason, "wait_for": session.waiting_for["wait_for"], "children": children}
    if reason == "timeout":
        payload["note"] = NOT_VERIFIED
    resume(session, f"resumed: {reason}", payload)
    return True


def _has_lasted(session: Session) -> bool:
    """Return whether the wait has timed out. First extend it by the seconds of Wardroom's own outages."""
    queryset = Session.objects.filter(pk=session.pk)
    if not queryset.filter(wait_until__lte=database_now()).exists():
        return False
    since = session.attempts.filter(number=session.attempt).values_list("ended_at", flat=True).first()
    if session.wait_until is None or since is None:
        return True
    moment = read_database_clock()
    away = outages.overlap_secs(outages.spans(), since, moment)
    until = session.wait_until + timedelta(seconds=away - session.wait_extended_secs)
    if until <= moment:
        return True
    queryset.update(wait_until=until, wait_extended_secs=away)
    return False


def resume(session: Session, reason: str, payload: dict[str, Any]) -> Session:
    """Queue the next attempt of a suspended session. Its `run` frame carries `payload`."""
    return transitions.requeue(session.pk, session.attempt, reason, out_of={Status.SUSPENDED}, resume=payload)


def resume_if_due(session_id: UUID) -> bool:
    """Resume this session if its wait is over. Of several concurrent callers one does it."""
    with unit_of_work.transaction():
        return resume_if_over(transitions.lock(session_id))


def sweep(limit: int = 200) -> int:
    """Check every suspended session with a finished child, an expired wait, or no recorded wait."""
    over = Session.objects.filter(parent=OuterRef("pk"), status__in=sorted(TERMINAL))
    due = Session.objects.filter(
        Q(wait_until__lte=database_now()) | Exists(over) | Q(waiting_for__isnull=True),
        status=Status.SUSPENDED,
        cancel_requested_at=None,
    )
    # The earliest end comes first, so that many long waits cannot hide one that is over.
    found = due.order_by("wait_until").values_list("pk", flat=True)
    return sweep_batch.each(WORK, lambda most: found[:most], _resume_or_name, limit=limit)


def _resume_or_name(session_id: UUID) -> bool:
    """Resume the session if its wait is over. Raise LostWait if it has none: the sweep counts and names such a row."""
    with unit_of_work.transaction():
        session = transitions.lock(session_id)
        if session.status == Status.SUSPENDED and session.waiting_for is None and session.cancel_requested_at is None:
            raise LostWait("the session is suspended without a recorded wait: nothing will resume it")
        return resume_if_over(session)
