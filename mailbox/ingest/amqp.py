"""Messages from other systems over AMQP: one durable queue per project, acknowledged only after the commit.

The project comes from the queue, never from the message. An unreadable message goes into quarantine, in the same
transaction as the delivery of its neighbours. If even quarantine cannot store all of it, the broker moves it to the
dead letters.

One message never stops the others. Its properties and headers are not decoded (`frames`), its body is kept up to a
limit, and its errors affect no other message. Each project has a channel of its own, so a channel error affects one
project only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any
from uuid import UUID

import kombu
from django.db import InterfaceError, OperationalError, connection

from accounts.models import Project
from core.db import sql
from core.limits import LIMITS
from core.web.problems import Problem
from ledger import unit_of_work
from mailbox import addresses, delivery, envelope, quarantine
from mailbox.envelope import NewMessage
from mailbox.ingest import frames
from mailbox.ingest.frames import Arrival
from wardroom import strict

SOURCE = "amqp"
PREFETCH = 1000
BATCH = 500
BATCH_BYTES = 8 * 1024 * 1024  # a batch takes one message beyond it at most
LINGER_SECS = 0.02  # how long a batch that is not full waits for more
LONGEST_PAUSE_SECS = 5.0
LOOK_FOR_PROJECTS_SECS = 30.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The reason why a body is not a valid message, with the address and id that it names."""

    reason: str
    position: int | None = None
    address: str = ""
    message_id: str = ""


def queue_of(slug: str) -> kombu.Queue:
    """Return a project's queue. The broker moves messages that it drops to the dead letters, never into nothing."""
    name = f"wardroom.ingest.{slug}"
    return kombu.Queue(
        name,
        exchange=kombu.Exchange(""),
        routing_key=name,
        durable=True,
        queue_arguments={
            "x-queue-type": "quorum",
            # One consumer at a time, the others stand by. With two consumers, or with one that reconnects before the
            # broker has noticed its lost connection, unacknowledged messages would come after later ones.
            "x-single-active-consumer": True,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead_letters_of(slug).name,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


def dead_letters_of(slug: str) -> kombu.Queue:
    """Return the queue of messages that neither a mailbox nor quarantine could take."""
    name = f"wardroom.ingest.{slug}.dead"
    return kombu.Queue(
        name, exchange=kombu.Exchange(""), routing_key=name, durable=True, queue_arguments={"x-queue-type": "quorum"}
    )


def read(arrival: Arrival) -> tuple[str, NewMessage] | Unreadable:
    """Return the address and the message of an arrival, or the reason why it is unreadable."""
    if not arrival.is_whole:
        beginning = f"only the first {arrival.kept} of its {arrival.size} bytes are kept here"
        return Unreadable(f"{beginning}; the broker keeps all of it in the dead letters of its queue")
    try:
        message_id = arrival.message_id.decode() if arrival.message_id else None
    except UnicodeDecodeError:
        # Only a message without an id in its body needs this property.
        return _read(arrival.body, None, "the AMQP property message_id is not UTF-8, and the message has no id")
    return _read(arrival.body, message_id)


def _read(raw: bytes, message_id: str | None, without_id: str = "") -> tuple[str, NewMessage] | Unreadable:
    try:
        # The envelope itself takes one level.
        value = strict.loads(
            raw,
            max_bytes=envelope.most_bytes(),
            max_depth=LIMITS.max_depth + 1,
            max_keys=LIMITS.max_keys,
        )
    except strict.StrictJSONError as error:
        return Unreadable(error.reason, error.position)
    if not isinstance(value, dict):
        return Unreadable("a message is an object")
    said = {name: value[name] for name in ("address", "id") if isinstance(value.get(name), str)}
    about = {"address": said.get("address", ""), "message_id": said.get("id") or message_id or ""}
    if value.get("id") is None:
        if without_id:
            return Unreadable(without_id, None, **about)
        value = value | {"id": message_id}
    try:
        return addresses.check(value.get("address")), envelope.read(value)
    except Problem as refusal:
        return Unreadable(quarantine.reason_of(refusal), None, **about)


@dataclass(slots=True)
class Ingest:
    """The consumer of one process. `stop()` ends it after the current batch; the broker keeps unacknowledged ones."""

    url: str
    only: frozenset[str] = frozenset()
    taken: int = 0
    stopping: Event = field(default_factory=Event)
    _batch: list[Arrival] = field(default_factory=list)
    _bytes: int = 0
    _queues: dict[str, tuple[str, UUID]] = field(default_factory=dict)

    def stop(self) -> None:
        """Finish the current batch, then return from `run`. If the database is away, the broker gets the batch back."""
        self.stopping.set()

    def run(self) -> None:
        """Consume until `stop()`. Reconnect to a lost broker for ever."""
        pause = 0.1
        options = {"frame_handler": frames.reader(quarantine.most_bytes())}
        broker = kombu.Connection(self.url, heartbeat=10, connect_timeout=5, transport_options=options)
        away = (*broker.connection_errors, *broker.channel_errors)
        while not self.stopping.is_set():
            try:
                with broker.clone() as broker_connection:
                    broker_connection.connect()
                    pause = 0.1
                    self._consume(broker_connection)
            except Stopped:
                break
            except Exception as error:
                if isinstance(error, (*away, BrokerAway)):
                    log.warning("the broker is away (%s: %s): trying again", type(error).__name__, str(error)[:200])
                else:
                    log.exception("taking messages failed: trying again with a new connection")
                self.stopping.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECS)
            finally:
                # The broker sends unacknowledged messages again.
                self._clear_batch()

    def _consume(self, broker: kombu.Connection) -> None:
        self._queues.clear()
        looked = -LOOK_FOR_PROJECTS_SECS
        while not self.stopping.is_set():
            if time.monotonic() - looked > LOOK_FOR_PROJECTS_SECS:
                self._look_for_projects(broker)
                looked = time.monotonic()
            # A batch ends when it is full, or when the broker has sent nothing for a moment.
            wait = 1.0
            while len(self._batch) < BATCH and self._bytes < BATCH_BYTES and not self.stopping.is_set():
                try:
                    broker.drain_events(timeout=wait)
                except TimeoutError:
                    break
                wait = LINGER_SECS
            broker.heartbeat_check()
            self._flush(broker)

    def _look_for_projects(self, broker: kombu.Connection) -> None:
        """Consume from the queue of each project that this connection does not consume from yet."""
        for slug, pk in retry_until_available(lambda: list(Project.objects.values_list("slug", "pk")), self.stopping):
            name = queue_of(slug).name
            if name in self._queues or (self.only and slug not in self.only):
                continue
            try:
                channel: Any = broker.channel()
                # Bytes as they came. The sender chooses the encoding and compression, which may be a bomb.
                channel.auto_decode = False
                channel.basic_qos(0, PREFETCH, False)
                dead_letters_of(slug).bind(channel).queue_declare()
                queue_of(slug).bind(channel).queue_declare()
                # The tag identifies the queue: the sender chooses the routing key.
                channel.basic_consume(name, consumer_tag=name, callback=self._receive)
                self._queues[name] = (slug, pk)
            except broker.channel_errors as error:
                # The queue was declared with other arguments, or permissions are missing. The other projects go on.
                log.error("cannot take messages from %s: %s", name, str(error)[:200])

    def _receive(self, arrival: Arrival) -> None:
        self._batch.append(arrival)
        self._bytes += arrival.kept

    def _flush(self, broker: kombu.Connection) -> None:
        """Commit the batch, then acknowledge it. After a failure between the two, the batch only comes again."""
        by_queue: dict[str, list[Arrival]] = {}
        for each in self._batch:
            by_queue.setdefault(each.delivery_info["consumer_tag"], []).append(each)
        for name, batch in by_queue.items():
            _, project_id = self._queues[name]
            refused = store(project_id, batch, self.stopping, lambda: keep_connected(broker))
            for arrival in (batch[place] for place in refused):
                arrival.channel.basic_reject(arrival.delivery_info["delivery_tag"], requeue=False)
            last = batch[-1]
            last.channel.basic_ack(last.delivery_info["delivery_tag"], multiple=True)
        self.taken += len(self._batch)
        self._clear_batch()

    def _clear_batch(self) -> None:
        self._batch.clear()
        self._bytes = 0


def store(
    project_id: UUID, batch: Sequence[Arrival], stopping: Event, beat: Callable[[], object] = lambda: None
) -> list[int]:
    """Deliver or quarantine each message, in one transaction. Return the places of those that quarantine did not store
    whole.

    Waits while the database is away. A batch that fails is retried in halves, so that one bad row affects no other.
    """
    beat()
    try:
        retry_until_available(lambda: _store(project_id, batch), stopping, beat)
    except (Stopped, BrokerAway):
        raise
    except Exception:
        if len(batch) == 1:
            log.exception("neither a mailbox nor quarantine took a message: the broker moves it to the dead letters")
            return [0]
        half = len(batch) // 2
        refused = store(project_id, batch[:half], stopping, beat)
        return [*refused, *(half + place for place in store(project_id, batch[half:], stopping, beat))]
    return [place for place, arrival in enumerate(batch) if not arrival.is_whole]


def _store(project_id: UUID, batch: Sequence[Arrival]) -> None:
    found = [(arrival, read(arrival)) for arrival in batch]
    good = [(arrival, each) for arrival, each in found if not isinstance(each, Unreadable)]
    with unit_of_work.transaction():
        for arrival, bad in found:
            if isinstance(bad, Unreadable):
                _quarantine(project_id, arrival, bad)
        outcomes = delivery.deliver_each_to(project_id, [each for _, each in good])
        for (arrival, (address, message)), outcome in zip(good, outcomes, strict=True):
            if isinstance(outcome, Problem):
                why = Unreadable(quarantine.reason_of(outcome), None, address, message.id or "")
                _quarantine(project_id, arrival, why)


def _quarantine(project_id: UUID, arrival: Arrival, why: Unreadable) -> None:
    quarantine.put(
        project_id,
        arrival.body,
        SOURCE,
        why.reason,
        size=arrival.size,
        position=why.position,
        address=why.address,
        message_id=why.message_id,
    )


class Stopped(Exception):
    """Raised on stop while the database is away. The current batch goes back to the broker."""


class BrokerAway(Exception):
    """Raised if the broker disconnects while a batch is stored. It sends the batch again."""


def keep_connected(broker: kombu.Connection) -> None:
    """Send a heartbeat, so that the broker waits during a long batch."""
    try:
        broker.connection.send_heartbeat()
    except Exception as error:
        raise BrokerAway(f"{type(error).__name__}: {error}") from error


def retry_until_available(
    operation: Callable[[], Any], stopping: Event, beat: Callable[[], object] = lambda: None
) -> Any:
    """Call `operation` until the database is there, or until stop. Nothing is acknowledged meanwhile."""
    pause = 0.1
    while True:
        try:
            return operation()
        except (OperationalError, InterfaceError) as error:
            if sql.blames_rows(error):
                raise
            log.warning("the database is away (%s): trying again", type(error).__name__)
            connection.close()
            if stopping.wait(pause):
                raise Stopped from error
            beat()
            pause = min(2 * pause, LONGEST_PAUSE_SECS)
