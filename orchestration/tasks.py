"""The tasks of the queue and of the beat: each calls one verb. Their arguments are ids, never anybody's words."""

from uuid import UUID

from celery import shared_task

from approvals import attempt_clock, decisions
from ledger import sweeps
from mailbox import claims
from orchestration.maintenance import retention
from orchestration.sessions import cancel, dispatch, launch, reaper, waits, watchdog
from orchestration.sessions.dispatch import TASK


@shared_task(name=TASK)
def launch_session(session_id: str, attempt: int) -> None:
    """Start the keeper of a queued attempt, and leave."""
    launch.launch(UUID(session_id), attempt)


@shared_task(name="orchestration.launch_sweep")
def launch_sweep() -> None:
    """Launch what lost its hint, relaunch what never said a word."""
    sweeps.run("launch_sweep", lambda moment: launch.sweep(moment=moment))


@shared_task(name="orchestration.lines_sweep")
def lines_sweep() -> None:
    """End what lost its line, its process, or the grace of its cancel."""
    sweeps.run("lines_sweep", lambda moment: reaper.sweep(moment=moment))


@shared_task(name="orchestration.watchdog_sweep")
def watchdog_sweep() -> None:
    """End what ran too long or went silent."""
    sweeps.run("watchdog_sweep", lambda moment: watchdog.sweep(moment=moment))


@shared_task(name="orchestration.waits_sweep")
def waits_sweep() -> None:
    """Resume parents whose wait is over."""
    sweeps.run("waits_sweep", lambda moment: waits.sweep())


@shared_task(name="orchestration.cancels_sweep")
def cancels_sweep() -> None:
    """Go on with cancels of large trees."""
    sweeps.run("cancels_sweep", lambda moment: cancel.sweep())


@shared_task(name="orchestration.approvals_expiry_sweep")
def approvals_expiry_sweep() -> None:
    """Expire what nobody answered in time, and cancel what an ended attempt left pending."""
    sweeps.run("approvals_expiry_sweep", lambda moment: decisions.expire_due() + attempt_clock.settle_left())


@shared_task(name="orchestration.claims_sweep")
def claims_sweep() -> None:
    """Take back what was claimed and never acknowledged."""
    sweeps.run("claims_sweep", lambda moment: claims.lapse_due())


@shared_task(name="orchestration.outbox_sweep")
def outbox_sweep() -> None:
    """Tell again what was never told."""
    sweeps.run("outbox_sweep", lambda moment: dispatch.sweep())


@shared_task(name="orchestration.maintenance.retention")
def keep_house() -> None:
    """Let go of what nobody may ask for any more."""
    sweeps.run("housekeeping", lambda moment: retention.sweep())
