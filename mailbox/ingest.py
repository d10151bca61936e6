"""Messages from other systems over AMQP: one durable queue per project, acknowledged only after the commit.

The project comes from the queue, never from the message. What cannot be read goes into quarantine, in the same
transaction as its neighbours' delivery; what even quarantine cannot keep goes, confirmed, into the dead letters.
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
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from accounts.models import Project
from accounts.problems import Problem
from ledger import journal
from mailbox import addresses, delivery, letters, quarantine
from mailbox.letters import NewMessage
from wardroom import strict

SOURCE = "amqp"
PREFETCH = 1000
BATCH = 500
LINGER_SECS = 0.02  # how long a batch that is not full waits for more
LONGEST_PAUSE_SECS = 5.0
LOOK_FOR_PROJECTS_SECS = 30.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a body is no message of ours, and what it still says of itself."""

    reason: str
    position: int | None = None
    address: str = ""
    message_id: str = ""


def queue_of(slug: str) -> kombu.Queue:
    """A project's queue. What the broker itself gives up goes to the dead letters, never into nothing."""
    name = f"wardroom.ingest.{slug}"
    return kombu.Queue(
        name,
        exchange=kombu.Exchange(""),
        routing_key=name,
        durable=True,
        queue_arguments={
            "x-queue-type": "quorum",
            # One consumer at a time, the others stand by. Where two take turns, or one comes back before the broker has
            # noticed that its last connection is gone, what was in its hands would be delivered after what follows it.
            "x-single-active-consumer": True,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead_letters_of(slug).name,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


def dead_letters_of(slug: str) -> kombu.Queue:
    """Where that goes which neither a mailbox nor quarantine could take."""
    name = f"wardroom.ingest.{slug}.dead"
    return kombu.Queue(
        name, exchange=kombu.Exchange(""), routing_key=name, durable=True, queue_arguments={"x-queue-type": "quorum"}
    )


def read(raw: bytes, message_id: str | None = None) -> tuple[str, NewMessage] | Unreadable:
    """The address and the message in a body, or why there is none."""
    limits = settings.WARDROOM
    try:
        # The envelope needs some room and one level of its own.
        value = strict.loads(
            raw,
            max_bytes=2 * limits["max_body_bytes"],
            max_depth=limits["max_depth"] + 1,
            max_keys=limits["max_keys"],
        )
    except strict.StrictJSONError as error:
        return Unreadable(error.reason, error.position)
    if not isinstance(value, dict):
        return Unreadable("a message is an object")
    said = {name: value[name] for name in ("address", "id") if isinstance(value.get(name), str)}
    about = {"address": said.get("address", ""), "message_id": said.get("id") or message_id or ""}
    try:
        return addresses.check(value.get("address")), letters.read({"id": message_id} | value)
    except Problem as refusal:
        return Unreadable(quarantine.reason_of(refusal), None, **about)


@dataclass(slots=True)
class Ingest:
    """One process's consumer. `stop()` ends it after the batch in hand; the broker keeps what was not acknowledged."""

    url: str
    only: frozenset[str] = frozenset()
    taken: int = 0
    stopping: Event = field(default_factory=Event)
    _batch: list[Any] = field(default_factory=list)
    _queues: dict[str, tuple[str, UUID]] = field(default_factory=dict)

    def stop(self) -> None:
        """Finish what is in hand, then return from `run`. What a database that is away cannot take goes back."""
        self.stopping.set()

    def run(self) -> None:
        """Consume until `stop()`. A broker that goes away is looked for again, for ever."""
        pause = 0.1
        broker = kombu.Connection(self.url, heartbeat=10, connect_timeout=5)
        away = (*broker.connection_errors, *broker.channel_errors)
        while not self.stopping.is_set():
            try:
                with broker.clone() as line:
                    line.connect()
                    pause = 0.1
                    self._consume(line)
            except Stopped:
                break
            except away as error:
                log.warning("the broker is away (%s: %s): trying again", type(error).__name__, str(error)[:200])
                self.stopping.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECS)
            finally:
                # What was not acknowledged comes again.
                self._batch.clear()

    def _consume(self, broker: kombu.Connection) -> None:
        channel: Any = broker.channel()
        # Bytes as they came. An encoding or a compression is the sender's word, and undoing it may be a bomb.
        channel.auto_decode = False
        channel.basic_qos(0, PREFETCH, False)
        self._queues.clear()
        looked = -LOOK_FOR_PROJECTS_SECS
        while not self.stopping.is_set():
            if time.monotonic() - looked > LOOK_FOR_PROJECTS_SECS:
                self._look_for_projects(channel)
                looked = time.monotonic()
            self._gather(broker)
            self._flush(broker, channel)

    def _look_for_projects(self, channel: Any) -> None:
        """A queue for each project that has none yet in this connection."""
        for slug, pk in patiently(lambda: list(Project.objects.values_list("slug", "pk")), self.stopping):
            queue = queue_of(slug)
            if queue.name in self._queues or (self.only and slug not in self.only):
                continue
            dead_letters_of(slug).bind(channel).queue_declare()
            queue.bind(channel).queue_declare()
            self._queues[queue.name] = (slug, pk)
            # The tag says whose queue it was: a routing key is the sender's word.
            channel.basic_consume(queue.name, consumer_tag=queue.name, callback=self._batch.append)

    def _gather(self, broker: kombu.Connection) -> None:
        """A batch: full, or as much as came before the line fell silent for a moment."""
        wait = 1.0
        while len(self._batch) < BATCH and not self.stopping.is_set():
            try:
                broker.drain_events(timeout=wait)
            except TimeoutError:
                break
            wait = LINGER_SECS
        broker.heartbeat_check()

    def _flush(self, broker: kombu.Connection, channel: Any) -> None:
        """Commit the batch, then acknowledge it: whatever happens between the two only means that it comes again."""
        if not self._batch:
            return
        by_queue: dict[str, list[Any]] = {}
        for each in self._batch:
            by_queue.setdefault(each.delivery_info["consumer_tag"], []).append(each)
        for name, batch in by_queue.items():
            slug, project_id = self._queues[name]
            raw = [(body(each), each.properties.get("message_id")) for each in batch]
            for refused in keep(project_id, raw, self.stopping):
                bury(broker, slug, body(batch[refused]))
        channel.basic_ack(self._batch[-1].delivery_tag, multiple=True)
        self.taken += len(self._batch)
        self._batch.clear()


def keep(project_id: UUID, batch: Sequence[tuple[bytes, str | None]], stopping: Event) -> list[int]:
    """Deliver or quarantine each, in one transaction. Returns the places of those that even quarantine refused.

    Waits for a database that is away. One that refuses the batch gets its halves, so that one bad row costs no other.
    """
    try:
        patiently(lambda: _keep(project_id, batch), stopping)
    except DatabaseError:
        if len(batch) == 1:
            log.exception("neither a mailbox nor quarantine took a message")
            return [0]
        half = len(batch) // 2
        refused = keep(project_id, batch[:half], stopping)
        return [*refused, *(half + place for place in keep(project_id, batch[half:], stopping))]
    return []


def _keep(project_id: UUID, batch: Sequence[tuple[bytes, str | None]]) -> None:
    found = [(raw, read(raw, message_id)) for raw, message_id in batch]
    good = [(raw, each) for raw, each in found if not isinstance(each, Unreadable)]
    with journal.transaction():
        for raw, bad in found:
            if isinstance(bad, Unreadable):
                _quarantine(project_id, raw, bad)
        outcomes = delivery.deliver_each_to(project_id, [each for _, each in good])
        for (raw, (address, message)), outcome in zip(good, outcomes, strict=True):
            if isinstance(outcome, Problem):
                _quarantine(project_id, raw, Unreadable(quarantine.reason_of(outcome), None, address, message.id or ""))


def _quarantine(project_id: UUID, raw: bytes, why: Unreadable) -> None:
    quarantine.put(
        project_id,
        raw,
        SOURCE,
        why.reason,
        position=why.position,
        address=why.address,
        message_id=why.message_id,
    )


def bury(broker: kombu.Connection, slug: str, raw: bytes) -> None:
    """Into the dead letters, confirmed by the broker before the original is acknowledged."""
    with broker.clone(transport_options={"confirm_publish": True}) as confirmed:
        queue = dead_letters_of(slug)
        kombu.Producer(confirmed).publish(
            raw,
            routing_key=queue.name,
            declare=[queue],
            delivery_mode=2,
            mandatory=True,
            content_type="application/octet-stream",
            content_encoding="binary",
        )


def body(message: Any) -> bytes:
    """The bytes as they came."""
    raw = message.body
    return raw.encode() if isinstance(raw, str) else bytes(raw)


class Stopped(Exception):
    """We are to stop, and the database is away: what is in hand goes back to the broker."""


def patiently(verb: Callable[[], Any], stopping: Event) -> Any:
    """Call until the database is there, or we are to stop. Nothing is acknowledged meanwhile."""
    pause = 0.1
    while True:
        try:
            return verb()
        except (OperationalError, InterfaceError) as error:
            log.warning("the database is away (%s): trying again", type(error).__name__)
            connection.close()
            if stopping.wait(pause):
                raise Stopped from error
            pause = min(2 * pause, LONGEST_PAUSE_SECS)
