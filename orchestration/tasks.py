"""The tasks of the queue and of the beat. Each calls one operation. Arguments are ids only, never text of a user."""

from uuid import UUID

from celery import shared_task

from approvals import attempt_clock, decisions
from approvals.outcomes import repeat_warnings
from approvals.outcomes import unknown as unknown_outcomes
from approvals.review import round as reviews
from approvals.rules import timeline
from ledger import sweeps
from ledger.deliveries import round
from mailbox import claims
from orchestration.maintenance import retention
from orchestration.sessions import cancel, completion_handlers, dispatch, launch, reaper, waits, watchdog
from orchestration.sessions.dispatch import NEXT_TASK, TASK


@shared_task(name=TASK)
def launch_session(session_id: str, attempt: int) -> None:
    """Start the supervisor of an attempt, now that this one is queued, and return. The next in turn may be another."""
    dispatch.mark_begun(UUID(session_id), attempt)
    launch.launch_next()


@shared_task(name=NEXT_TASK)
def launch_next() -> None:
    """Start the supervisor of the next attempt in turn, now that a place is free."""
    launch.launch_next()


@shared_task(
    name=completion_handlers.TASK,
    soft_time_limit=completion_handlers.SOFT_SECS,
    time_limit=completion_handlers.HARD_SECS,
)
def call_completion_handler(key: str) -> None:
    """Call one completion handler for one ended attempt."""
    completion_handlers.call(key)


@shared_task(name="orchestration.launch_sweep")
def launch_sweep() -> None:
    """Launch attempts with a lost task message, and relaunch attempts without a first frame."""
    sweeps.run("launch_sweep", lambda moment: launch.sweep(moment=moment))


@shared_task(name="orchestration.connections_sweep")
def connections_sweep() -> None:
    """End attempts without their connection, their process, or past the grace of their cancel."""
    sweeps.run("connections_sweep", lambda moment: reaper.sweep(moment=moment))


@shared_task(name="orchestration.watchdog_sweep")
def watchdog_sweep() -> None:
    """End attempts that run too long or went silent."""
    sweeps.run("watchdog_sweep", lambda moment: watchdog.sweep(moment=moment))


@shared_task(name="orchestration.waits_sweep")
def waits_sweep() -> None:
    """Resume parents after their wait."""
    sweeps.run("waits_sweep", lambda moment: waits.sweep())


@shared_task(name="orchestration.cancels_sweep")
def cancels_sweep() -> None:
    """Continue the cancels of large trees."""
    sweeps.run("cancels_sweep", lambda moment: cancel.sweep())


@shared_task(name="orchestration.approvals_expiry_sweep")
def approvals_expiry_sweep() -> None:
    """Remind and escalate, expire approvals in time, cancel those left pending, and find unknown outcomes."""
    due = (
        timeline.take_due,
        decisions.expire_due,
        attempt_clock.settle_left,
        unknown_outcomes.sweep,
        repeat_warnings.sweep,
    )
    sweeps.run("approvals_expiry_sweep", lambda moment: sum(act() for act in due))


@shared_task(name="orchestration.claims_sweep")
def claims_sweep() -> None:
    """Expire claims that were never acknowledged."""
    sweeps.run("claims_sweep", lambda moment: claims.expire_due())


@shared_task(name="orchestration.outbox_sweep")
def outbox_sweep() -> None:
    """Publish launches and completions that were never sent."""
    sweeps.run("outbox_sweep", lambda moment: dispatch.sweep() + completion_handlers.sweep())


@shared_task(name=dispatch.SEND_TASK)
def deliveries_sweep() -> None:
    """Make deliveries from the feed, and send those that are due."""
    sweeps.run("deliveries_sweep", lambda moment: round.run())


@shared_task(name=dispatch.REVIEW_TASK)
def reviews_sweep() -> None:
    """End reviews without a verdict in time, and have a round call the reviewers of the others."""
    sweeps.run("reviews_sweep", lambda moment: reviews.ensure())


@shared_task(name="orchestration.retention_sweep")
def retention_sweep() -> None:
    """Delete rows and files that are past their retention period."""
    sweeps.run("retention_sweep", lambda moment: retention.sweep())
