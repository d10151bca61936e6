"""One round of sending: follow the feed, then send due deliveries, until nothing is due or the time is over.

The thread that calls it uses the database. An event loop in a second thread uses the network: so a receiver that
hangs holds no thread and no connection of the database.

- One round at a time runs in all of Wardroom, so at most one process of the workers is busy with it.
- A receiver gets its deliveries one after the other; different receivers get theirs at once.
- Receivers that failed last, or were slow, share a few of the places, and none begins near the end of a round.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait

from core.concurrency import loop_thread
from core.limits import LIMITS
from ledger.deliveries import lanes, senders
from ledger.deliveries.lanes import Lease
from ledger.deliveries.senders import Job, Outcome
from ledger.models import Delivery

#: The name of the lease of the round itself.
ROUND = "round:"
#: Receivers at once, and how many of them may be those in trouble.
AT_ONCE, TROUBLED_AT_ONCE = 32, 8
#: Threads for the names of receivers, and for senders that block.
THREADS = 48
POLL_SECS, FOLLOW_SECS, RENEW_SECS = 0.2, 1.0, 2.0
log = logging.getLogger(__name__)


def run() -> int:
    """Run one round, and return the number of deliveries that were made or sent. 0 while another round runs."""
    lanes.ensure([ROUND])
    lease = lanes.take(ROUND)
    if lease is None:
        return 0
    try:
        made = follow()
        if not lanes.ready(troubled=True, most=1) and not lanes.ready(troubled=False, most=1):
            return made
        with loop_thread.running("deliveries", threads=THREADS) as loop:
            return made + _Round(loop, lease).run()
    finally:
        lanes.release(lease)


def follow() -> int:
    """Let each follower read the feed. One that fails does not stop the others. Return the number of new deliveries."""
    made = 0
    for each in senders.followers:
        try:
            made += each.follow()
        except Exception:
            log.exception("%s could not follow the feed; the next round tries again", each.name)
    return made


class _Round:
    def __init__(self, loop: asyncio.AbstractEventLoop, lease: Lease) -> None:
        self.loop = loop
        self.lease = lease
        self.jobs: dict[Future[list[Outcome]], Lease] = {}
        self.rows: dict[Lease, list[Delivery]] = {}
        self.troubled: set[Lease] = set()
        self.sent = 0

    def run(self) -> int:
        end = time.monotonic() + LIMITS.delivery_round_secs
        # Quick receivers are served while slow ones are waited for, so that none waits for another.
        last = end + LIMITS.delivery_timeout_secs
        followed = renewed = time.monotonic()
        while True:
            now = time.monotonic()
            if now < end:
                self.begin(troubled=True, most=TROUBLED_AT_ONCE - len(self.troubled))
            if now < end or (self.jobs and now < last):
                self.begin(troubled=False, most=AT_ONCE - len(self.jobs))
            if not self.jobs:
                return self.sent
            for job in wait(self.jobs, timeout=POLL_SECS, return_when=FIRST_COMPLETED).done:
                self.finish(job)
            if followed < now - FOLLOW_SECS and now < end:
                self.sent += follow()
                followed = now
            if renewed < now - RENEW_SECS:
                lanes.renew([self.lease, *self.jobs.values()])
                renewed = now
                if not lanes.is_held(self.lease):
                    # This process was slow, and another round runs. What has begun comes to its end.
                    end = last = now

    def begin(self, *, troubled: bool, most: int) -> None:
        """Begin the jobs of lanes with something due."""
        for lane in lanes.ready(troubled=troubled, most=most):
            lease = lanes.take(lane)
            if lease is None:
                continue
            try:
                rows = lanes.load(lane)
                job = senders.of(lane).prepare(rows) if rows else None
            except Exception:
                # The lease stays until it ends: a lane that cannot be read is tried again then, and stops no other.
                log.exception("%s: its deliveries cannot be read", lane)
                continue
            if job is None:
                lanes.release(lease)
                continue
            self.rows[lease] = rows
            if troubled:
                self.troubled.add(lease)
            self.jobs[asyncio.run_coroutine_threadsafe(_called(job), self.loop)] = lease

    def finish(self, job: Future[list[Outcome]]) -> None:
        """Record the outcomes of a job that has ended."""
        lease = self.jobs.pop(job)
        self.troubled.discard(lease)
        rows = self.rows.pop(lease)
        try:
            outcomes = job.result()
        except Exception as error:
            log.exception("%s: a job failed", lease.lane)
            told = f"internal error: {type(error).__name__}"
            outcomes = [Outcome(delivery=rows[0].pk, is_sent=False, error=told)]
        self.record(lease, outcomes)

    def record(self, lease: Lease, outcomes: list[Outcome]) -> None:
        try:
            self.sent += lanes.record(lease, outcomes) if outcomes else 0
        except Exception:
            log.exception("%s: its outcomes cannot be recorded; they are sent again when its lease ends", lease.lane)
            return
        lanes.release(lease)


async def _called(job: Job) -> list[Outcome]:
    return await job()
