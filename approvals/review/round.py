"""Call the reviewers of the requests that wait for one, many at once, and record their verdicts.

The thread that runs a round uses the database. An event loop in a second thread uses the network, so a reviewer that
hangs holds no thread. One round runs in all of Wardroom; when its process dies, its lease ends and the next round
calls the reviewers again. A process that was only slow, and lost the lease, calls nobody any more.

A verdict that cannot be recorded, because the database is away, is kept and recorded later: a second call could give
another one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from uuid import UUID, uuid4

from cryptography.fernet import InvalidToken
from django.db import InterfaceError, OperationalError, connections

from approvals.models import Approval, Review, Reviewer
from approvals.review import calling, ending, prompts, replies, reviewers
from approvals.review.calling import NoReply, Said
from approvals.review.prompts import TooLarge
from approvals.review.replies import Reply
from approvals.states import ReviewerKind, ReviewState, Status
from core.concurrency import loop_thread, threadpool
from core.db.clock import database_now, read_database_clock
from ledger.deliveries import lanes
from ledger.deliveries.lanes import Lease
from ledger.webhooks import signing

#: The name of the lease of the round.
LANE = "reviews:"
#: Calls at once. Each reviewer has a bound of its own, so one that hangs leaves places for the others. A project takes
#: at most as many places as it leaves free, so one with many reviewers that hang leaves places for other projects.
AT_ONCE = 128
#: A round without work waits for this long before it ends.
IDLE_SECS, POLL_SECS = 1.0, 0.2
#: Short beside the deadlines of reviews: after the death of a round the next one must still have time.
LEASE_SECS, RENEW_SECS = 6.0, 1.0
#: A verdict that cannot be recorded is tried again after each pause, until its review is over for certain.
AGAIN_SECS, KEPT_SECS = 1.0, 180.0
THREADS = 32
log = logging.getLogger(__name__)
_lock = threading.Lock()
_running: threading.Thread | None = None

Call = Callable[[], Awaitable[Said]]


def ensure() -> int:
    """End overdue reviews, and have a round run in a thread of this process while reviews wait. Return those ended.

    The thread is no task: a task that waits for reviewers would hold one of the few places of the workers.
    """
    global _running
    ended = ending.end_overdue()
    if Review.objects.filter(deadline_at__gt=database_now()).exists():
        with _lock:
            if _running is None or not _running.is_alive():
                _running = threading.Thread(target=_in_thread, name="reviews", daemon=True)
                _running.start()
    return ended


def _in_thread() -> None:
    try:
        run()
    except Exception:
        log.exception("a round of reviews ended early; the sweep begins the next one")
    finally:
        connections.close_all()


def run() -> int:
    """Run a round until no review is left, and return the number of calls. 0 while another round runs."""
    lanes.ensure([LANE])
    lease = lanes.take(LANE, LEASE_SECS)
    if lease is None:
        return 0
    try:
        with loop_thread.running("reviews", threads=THREADS) as loop:
            return _Round(loop, lease).run()
    finally:
        lanes.release(lease)


@dataclass(frozen=True, slots=True)
class _Job:
    review: UUID
    claim: UUID
    reviewer: UUID
    project: UUID
    at_once: int


@dataclass(frozen=True, slots=True)
class _Kept:
    """A verdict that could not be recorded. It is tried again from `again` on, until `until`."""

    claim: UUID
    reply: Reply
    again: float
    until: float


class _Round:
    def __init__(self, loop: asyncio.AbstractEventLoop, lease: Lease) -> None:
        self.loop = loop
        self.lease = lease
        self.renewed = time.monotonic()
        #: Another round has taken the lane: no reviewer is called any more.
        self.is_over = False
        self.jobs: dict[Future[Said], _Job] = {}
        self.kept: dict[UUID, _Kept] = {}
        self.calls = 0

    def run(self) -> int:
        busy = time.monotonic()
        while True:
            try:
                self.renew()
                self.begin()
                self.record_kept()
            except (OperationalError, InterfaceError):
                if not self.jobs and not self.kept:
                    raise
                log.warning("the database is away; the verdicts of reviewers wait for it")
                threadpool.tidy()
                time.sleep(POLL_SECS)
            now = time.monotonic()
            if self.jobs or self.kept:
                busy = now
            elif self.is_over or now - busy > IDLE_SECS:
                return self.calls
            if not self.jobs:
                time.sleep(POLL_SECS)
                continue
            for call in wait(self.jobs, timeout=POLL_SECS, return_when=FIRST_COMPLETED).done:
                self.finish(call)

    def renew(self) -> None:
        """Hold the lease for longer, and notice that another round has it."""
        if self.is_over or self.renewed > (now := time.monotonic()) - RENEW_SECS:
            return
        lanes.renew([self.lease], LEASE_SECS)
        self.is_over, self.renewed = not lanes.is_held(self.lease), now

    def begin(self) -> None:
        """Call as many reviewers as have places."""
        while len(self.jobs) < AT_ONCE and not self.is_over:
            busy = Counter(job.reviewer for job in self.jobs.values())
            full = {job.reviewer for job in self.jobs.values() if busy[job.reviewer] >= job.at_once}
            known = {job.review for job in self.jobs.values()} | set(self.kept)
            free, taken = AT_ONCE - len(self.jobs), Counter(job.project for job in self.jobs.values())
            greedy = [project for project, number in taken.items() if number >= free]
            waiting = Review.objects.filter(deadline_at__gt=database_now()).exclude(reviewer__in=full)
            waiting = waiting.exclude(reviewer__project__in=greedy)
            row = waiting.exclude(pk__in=known).select_related("reviewer").order_by("deadline_at").first()
            if row is None:
                return
            claim = uuid4()
            # The claim is the fence: a round that was slow, and lost its lease, takes no review from the next one.
            if not Review.objects.filter(lanes.held(self.lease), pk=row.pk).update(claim=claim):
                self.is_over = not lanes.is_held(self.lease)
                continue
            # Read after the claim: a later change of the reviewer takes the claim away.
            reviewer = Reviewer.objects.filter(pk=row.reviewer_id).first()
            if reviewer is None:
                continue
            row.reviewer = reviewer
            try:
                call = _prepared(row)
            except (NoReply, TooLarge) as why:
                self.record(row.pk, claim, Reply.failed(str(why)))
            except (OperationalError, InterfaceError):
                raise
            except Exception as error:
                log.exception("the review %s cannot begin", row.pk)
                self.record(row.pk, claim, Reply.failed(f"internal error: {type(error).__name__}"))
            else:
                if call is None:
                    self.record(row.pk, claim, Reply(ReviewState.DROPPED))
                    continue
                self.calls += 1
                job = _Job(row.pk, claim, row.reviewer_id, row.reviewer.project_id, row.reviewer.at_once)
                self.jobs[asyncio.run_coroutine_threadsafe(_called(call), self.loop)] = job

    def finish(self, call: Future[Said]) -> None:
        """Record the reply of a call that has ended."""
        job = self.jobs.pop(call)
        try:
            reply = replies.read(*call.result())
        except NoReply as none:
            reply = Reply.failed(none.why, none.said)
        except Exception as error:
            log.exception("the review %s failed", job.review)
            reply = Reply.failed(f"internal error: {type(error).__name__}")
        self.record(job.review, job.claim, reply)

    def record(self, review: UUID, claim: UUID, reply: Reply) -> None:
        kept, now = self.kept.pop(review, None), time.monotonic()
        try:
            # False: the claim holds it no more. The request ended, or the reviewer was changed and is called again.
            ending.end(review, claim, reply)
        except Exception:
            until = now + KEPT_SECS if kept is None else kept.until
            log.warning("the verdict of the review %s cannot be recorded now", review, exc_info=kept is None)
            if now < until:
                self.kept[review] = _Kept(claim, reply, now + AGAIN_SECS, until)
            threadpool.tidy()

    def record_kept(self) -> None:
        """Record the verdicts that could not be recorded before."""
        now = time.monotonic()
        for review, kept in list(self.kept.items()):
            if kept.again <= now:
                self.record(review, kept.claim, kept.reply)


def _prepared(review: Review) -> Call | None:
    """Read the rows that a call needs, and return the call. None: the request has ended already.

    Raises NoReply and TooLarge.
    """
    approval, reviewer = Approval.objects.get(pk=review.approval_id), review.reviewer
    if approval.status != Status.PENDING:
        return None
    secs = (review.deadline_at - read_database_clock()).total_seconds()
    body = prompts.letter(approval, review)
    if reviewer.kind == ReviewerKind.PROGRAM:
        return lambda: calling.program(reviewer.entry_point, body, secs)
    try:
        keys = [signing.opened(reviewer.secret)]
        if reviewer.previous_secret and reviewers.in_rotation(reviewer):
            keys.append(signing.opened(reviewer.previous_secret))
    except InvalidToken:
        raise NoReply("its secret was sealed with another SECRET_KEY") from None
    return lambda: calling.webhook(reviewer.url, keys, review.id.hex, body, secs)


async def _called(call: Call) -> Said:
    return await call()
