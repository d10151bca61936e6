"""Publish the launch of an attempt to the workers: a task message, and an outbox row in case the message is lost."""

import functools
import logging
import time
from typing import Any
from uuid import UUID

from amqp.exceptions import AMQPError
from celery import current_app
from django.db.models import F
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from core.db.clock import database_now, later
from ledger import sweep_batch, unit_of_work
from ledger.models import OutboxEntry
from ledger.sweep_batch import Work
from orchestration.models import Session
from orchestration.places import held, turns
from orchestration.states import Runner

LAUNCH = "launch"
WORK = Work("outbox_sweep", "launches")
TASK = "orchestration.launch_session"
NEXT_TASK = "orchestration.launch_next"
SEND_TASK = "orchestration.deliveries_sweep"
REVIEW_TASK = "orchestration.reviews_sweep"
BRAKE_SECS = 5.0
CONNECT_SECS = 1.0
log = logging.getLogger(__name__)
_silent_until = 0.0


def enqueue_launch(session: Session) -> None:
    """Record that the current attempt must be launched; publish after COMMIT. Requires a transaction."""
    key = f"{LAUNCH}:{session.pk}:{session.attempt}"
    payload = {"session": str(session.pk), "attempt": session.attempt}
    unit_of_work.outbox(session.project_id, LAUNCH, key, payload)
    unit_of_work.after_commit(functools.partial(_send, key, session.pk, session.attempt))


def sweep(limit: int = 100) -> int:
    """Publish task messages that were never sent, and return their number."""
    waiting = OutboxEntry.objects.filter(kind=LAUNCH, sent_at=None, due_at__lt=later(-5)).order_by("due_at")
    found = waiting.values_list("pk", flat=True)

    def send_again(pk: int) -> bool:
        entry = OutboxEntry.objects.get(pk=pk)
        return _send(entry.key, UUID(entry.payload["session"]), int(entry.payload["attempt"]))

    return sweep_batch.each(WORK, lambda most: found[:most], send_again, limit=limit)


def mark_begun(session_id: UUID, attempt: int) -> None:
    """Mark the launch as begun, so that its task message is not sent again."""
    key = f"{LAUNCH}:{session_id}:{attempt}"
    OutboxEntry.objects.filter(key=key, sent_at=None).update(sent_at=database_now())


def free_place(session_id: UUID, attempt: int) -> None:
    """Free the place of an attempt whose process is gone, and wake one after COMMIT. Requires a transaction."""

    def wake_one() -> None:
        if turns.queued(Runner.PROCESS).exists():
            publish(NEXT_TASK)

    if held.free(session_id, attempt):
        # After COMMIT: a session that was queued before then found no free place.
        unit_of_work.after_commit(wake_one)


def _send(key: str, session_id: UUID, attempt: int) -> bool:
    owed = OutboxEntry.objects.filter(key=key, sent_at=None)
    trouble = publish(TASK, str(session_id), attempt)
    if trouble is None:
        return False
    if trouble:
        owed.update(tries=F("tries") + 1, last_error=trouble)
        return False
    owed.update(sent_at=database_now(), tries=F("tries") + 1, last_error="")
    return True


def wake_senders() -> None:
    """Have a worker send deliveries now."""
    publish(SEND_TASK)


def wake_reviewers() -> None:
    """Have a worker call the reviewers of new requests now."""
    publish(REVIEW_TASK)


def publish(task: str, *args: Any) -> str | None:
    """Publish a task message once. Return the name of an error, or an empty text.

    After a failure, return None for some seconds without a try, so that a hanging broker does not slow every caller.
    """
    global _silent_until
    if time.monotonic() < _silent_until:
        return None
    # Try once: the pooled connections retry for six seconds while a caller waits.
    options: dict[str, float] = {"max_retries": 0}
    if not str(current_app.conf.broker_url).startswith("amqp"):
        options |= {"socket_timeout": CONNECT_SECS, "socket_connect_timeout": CONNECT_SECS}
    try:
        with current_app.connection_for_write(connect_timeout=CONNECT_SECS, transport_options=options) as broker:
            current_app.send_task(task, args=list(args), connection=broker, retry=False, ignore_result=True)
    except (OperationalError, OSError, AMQPError, RedisError) as problem:
        _silent_until = time.monotonic() + BRAKE_SECS
        log.warning("%s: message not sent (%s): the sweeper will send it again", task, type(problem).__name__)
        return type(problem).__name__
    return ""
