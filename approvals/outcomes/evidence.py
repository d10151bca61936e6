"""What is known about an unknown outcome: the events of its session around the consumption."""

from __future__ import annotations

from approvals.models import Approval
from ledger.models import Event

#: The events before the consumption, and the last ones after it.
BEFORE, AFTER = 3, 12


def events_around(approval: Approval) -> list[Event]:
    """Return some events of the attempt before the consumption and its last ones after it, oldest first."""
    if approval.session is None or approval.consumed_at is None:
        return []
    of_attempt = Event.objects.filter(session=approval.session, attempt=approval.attempt).order_by("-cursor")
    before = of_attempt.filter(at__lte=approval.consumed_at)[:BEFORE]
    after = of_attempt.filter(at__gt=approval.consumed_at)[:AFTER]
    return [*reversed(before), *reversed(after)]
