"""The lanes of deliveries: take one, load its due deliveries, and record the outcomes.

All changes are guarded by the lane's lease, which ends by itself when its process dies. Each lease has a token: a
process that was only slow, and goes on after another one has taken the lane, changes nothing of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID, uuid4

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from accounts.actors import Actor
from core.db.clock import database_now, later
from core.limits import LIMITS
from ledger import unit_of_work, wakeups
from ledger.deliveries import senders
from ledger.deliveries.senders import Outcome
from ledger.models import Delivery, DeliveryState, Lane
from ledger.sweep_batch import storable

#: A process renews its leases all the time. After its death, others wait for this long.
LEASE_SECS = 15.0
#: The deliveries of one job.
MOST_AT_ONCE = 20
#: The pauses of one delivery between its tries, about three days in all. The last one repeats.
PAUSES = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 43200)
LONGEST_PAUSE_SECS = 3600.0
SLOW_MS = 1000


class Lease(NamedTuple):
    """A lane that a process has taken, with the token that shows it."""

    lane: str
    token: UUID


def ensure(names: Iterable[str]) -> None:
    """Make the lanes that do not exist yet."""
    Lane.objects.bulk_create([Lane(name=name) for name in names], ignore_conflicts=True)


def take(name: str, secs: float = LEASE_SECS) -> Lease | None:
    """Take the lease of a lane. None while another process holds it."""
    free, token = Q(leased_until=None) | Q(leased_until__lte=database_now()), uuid4()
    rows = Lane.objects.filter(free, name=name, is_held=False)
    return Lease(name, token) if rows.update(leased_until=later(secs), lease=token) else None


def renew(leases: Iterable[Lease], secs: float = LEASE_SECS) -> None:
    """Hold these leases for longer. One that another process took meanwhile stays as that process holds it."""
    names, tokens = zip(*leases, strict=True)
    Lane.objects.filter(name__in=names, lease__in=tokens).update(leased_until=later(secs))


def release(lease: Lease) -> None:
    """Give the lease back, unless another process took it meanwhile."""
    mine = Lane.objects.filter(name=lease.lane, lease=lease.token)
    mine.update(leased_until=None, lease=None, served_at=database_now())


def held(lease: Lease) -> Exists:
    """Return a condition for other rows: no other process took the lane meanwhile."""
    return Exists(Lane.objects.filter(name=lease.lane, lease=lease.token))


def is_held(lease: Lease) -> bool:
    """Return True unless another process took the lane meanwhile."""
    return Lane.objects.filter(name=lease.lane, lease=lease.token).exists()


def ready(*, troubled: bool, most: int) -> list[str]:
    """Return lanes with something due, the longest unserved first. `troubled` ones failed last, or were slow."""
    if most <= 0:
        return []
    due = Delivery.objects.filter(lane=OuterRef("name"), state=DeliveryState.WAITING, due_at__lte=database_now())
    free = Q(leased_until=None) | Q(leased_until__lte=database_now())
    awake = Q(paused_until=None) | Q(paused_until__lte=database_now())
    trouble = Q(failures__gt=0) | Q(is_slow=True)
    rows = Lane.objects.filter(Exists(due), free, awake, trouble if troubled else ~trouble, is_held=False)
    return list(rows.order_by(F("served_at").asc(nulls_first=True)).values_list("name", flat=True)[:most])


def load(name: str) -> list[Delivery]:
    """Return the due deliveries of a lane in the order of the feed."""
    rows: QuerySet[Delivery] = Delivery.objects.select_related("webhook").filter(
        lane=name, state=DeliveryState.WAITING, due_at__lte=database_now()
    )
    failures = Lane.objects.filter(name=name).values_list("failures", flat=True).first()
    # A receiver that fails gets one: it would refuse the others too.
    return list(rows.order_by(F("cursor").asc(nulls_first=True), "created_at", "id")[: 1 if failures else MOST_AT_ONCE])


def record(lease: Lease, outcomes: Sequence[Outcome]) -> int:
    """Write the outcomes, and return the number of deliveries that were sent. The lease is not released.

    After another process took the lane, only what was sent is written: it pauses the lane, and tries again.
    """
    name = lease.lane
    with unit_of_work.transaction():
        # The lane is locked first, so that a redrive comes before or after.
        lane = Lane.objects.select_for_update().filter(name=name).first()
        if lane is None:  # Its receiver was deleted meanwhile.
            return 0
        is_mine = lane.lease == lease.token
        for outcome in outcomes:
            if is_mine or outcome.is_sent:
                _settle(outcome)
        if not is_mine:
            return sum(each.is_sent for each in outcomes)
        last = outcomes[-1]
        blamed = [each for each in outcomes if not each.is_sent and each.blames]
        if blamed:
            worst = blamed[-1]
            pause = max(worst.pause_secs, _jittered(min(2.0 ** min(lane.failures, 20), LONGEST_PAUSE_SECS)))
            Lane.objects.filter(name=name).update(
                failures=F("failures") + 1,
                failing_since=Coalesce("failing_since", database_now()),
                paused_until=later(pause),
                is_slow=last.took_ms > SLOW_MS,
            )
            senders.of(name).failed(name, worst)
        elif any(each.is_sent for each in outcomes):
            slow = last.took_ms > SLOW_MS
            Lane.objects.filter(name=name).update(failures=0, failing_since=None, paused_until=None, is_slow=slow)
    return sum(each.is_sent for each in outcomes)


def _settle(outcome: Outcome) -> None:
    rows = Delivery.objects.filter(pk=outcome.delivery, state=DeliveryState.WAITING)
    tries = rows.values_list("tries", flat=True).first()
    if tries is None:
        return
    told = {
        "tries": tries + 1,
        "last_status": outcome.status,
        "last_error": storable(outcome.error)[: senders.ERROR_CHARACTERS],
        "took_ms": outcome.took_ms,
    }
    if outcome.is_sent:
        rows.update(state=DeliveryState.SENT, settled_at=database_now(), **told)
        return
    pause = max(outcome.pause_secs, _jittered(float(PAUSES[min(tries, len(PAUSES) - 1)])))
    over = Q() if outcome.is_final else Q(began_at__lte=later(pause - LIMITS.delivery_give_up_secs))
    if not rows.filter(over).update(state=DeliveryState.FAILED, settled_at=database_now(), **told):
        rows.update(due_at=later(pause), **told)


def _jittered(secs: float) -> float:
    """Return between three and five quarters of it, so that many retries do not come at once."""
    return secs * (0.75 + 0.5 * secrets.randbelow(1000) / 1000)


def redrive(row: Delivery, actor: Actor) -> bool:
    """Send a delivery again, under the same id. Its lane does not wait any longer. False for a row that is gone."""
    with unit_of_work.transaction():
        ensure([row.lane])
        Lane.objects.filter(name=row.lane).update(paused_until=None)
        now = database_now()
        again = {"state": DeliveryState.WAITING, "settled_at": None, "tries": 0, "due_at": now, "began_at": now}
        if not Delivery.objects.filter(pk=row.pk).update(**again):
            return False
        detail = {"to": row.receiver, "type": row.type}
        unit_of_work.wake(wakeups.DELIVERIES)
        unit_of_work.audit(row.project_id, actor, "delivery.redriven", f"delivery:{row.pk}", detail)
        return True
