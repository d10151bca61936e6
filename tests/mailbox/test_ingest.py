"""AMQP: into the mailbox or into quarantine, once committed and only then acknowledged, and never into nothing."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import kombu
import pytest
from django.db import OperationalError, connections

from accounts import projects
from accounts.models import Project
from mailbox import addresses, claims
from mailbox.ingest import amqp
from mailbox.models import Message, Quarantined
from tests.mailbox import hostile
from tests.mailbox.hostile import new_message
from tests.servers import RabbitMQ
from tests.servers.databases import ROOT
from tests.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]


@pytest.fixture
def project(transactional_db: None) -> Any:
    return projects.default().pk


@pytest.fixture(scope="module")
def own_rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ that these tests may stop."""
    with RabbitMQ() as server:
        yield server


@pytest.fixture
def url(own_rabbitmq: RabbitMQ) -> str:
    return own_rabbitmq.create(f"v{uuid4().hex[:8]}")


@contextmanager
def taking(url: Any, **options: Any) -> Iterator[Any]:
    """An ingest at work, in a thread of this process."""
    worker = amqp.Ingest(url, **options)

    def work() -> None:
        try:
            worker.run()
        finally:
            connections.close_all()

    thread = Thread(target=work)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(20)
        assert not thread.is_alive()


class Sender:
    """Another system, with publisher confirms."""

    def __init__(self, url: Any, slug: str = "default") -> None:
        self.queue = amqp.queue_of(slug)
        self.url = url
        with kombu.Connection(url) as broker:
            amqp.dead_letters_of(slug).bind(broker.channel()).queue_declare()
            self.queue.bind(broker.channel()).queue_declare()

    def send(self, bodies: Any, **properties: Any) -> None:
        with kombu.Connection(self.url, transport_options={"confirm_publish": True}) as broker:
            producer = kombu.Producer(broker)
            for body in bodies:
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                options = {"content_type": "application/json", "content_encoding": "binary"} | properties
                producer.publish(raw, routing_key=self.queue.name, delivery_mode=2, **options)

    def waiting(self, queue: Any = None) -> Any:
        """Return the number of messages in the broker, delivered or not."""
        with kombu.Connection(self.url) as broker:
            bound: Any = (queue or self.queue).bind(broker.channel())
            return bound.queue_declare(passive=True).message_count


def test_messages_arrive_in_the_order_of_the_queue(project: UUID, url: str) -> None:
    sender = Sender(url)
    sender.send(new_message(number) for number in range(300))
    with taking(url):
        wait_until(lambda: Message.objects.count() == 300, 30)
    rows = claims.drain(project, "desk", limit=1000).messages
    assert [row.message_id for row in rows] == [f"m-{number:05}" for number in range(300)]
    assert rows[0].claimed_sender is False and sender.waiting() == 0


def test_the_project_is_the_queues_whatever_the_message_says(project: UUID, url: str) -> None:
    other = Project.objects.create(slug="other")
    sender = Sender(url, "other")
    sender.send([new_message(1, project="default", project_id=str(project))])
    with taking(url):
        wait_until(lambda: Message.objects.count() == 1, 30)
    assert Message.objects.get().project_id == other.pk


def test_one_project_may_be_taken_alone(project: UUID, url: str) -> None:
    Project.objects.create(slug="other")
    Sender(url).send([new_message(1)])
    waiting = Sender(url, "other")
    waiting.send([new_message(2)])
    with taking(url, only=frozenset({"default"})):
        wait_until(lambda: Message.objects.count() == 1, 30)
    assert waiting.waiting() == 1


def test_the_brokers_message_id_serves_when_the_body_has_none(project: UUID, url: str) -> None:
    body = {key: value for key, value in new_message(1).items() if key != "id"}
    sender = Sender(url)
    sender.send([body, body], message_id="amqp-1")
    with taking(url) as worker:
        wait_until(lambda: worker.taken == 2, 30)
    assert Message.objects.get().message_id == "amqp-1"


def test_what_is_redelivered_is_there_once(project: UUID, url: str) -> None:
    sender = Sender(url)
    sender.send([new_message(1)] * 5)
    with taking(url) as worker:
        wait_until(lambda: worker.taken == 5, 30)
    assert Message.objects.count() == 1
    assert not Quarantined.objects.exists()


def test_a_thousand_hostile_bodies_are_each_quarantined_with_a_reason_and_stop_nothing(
    project: UUID, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_has_session", lambda project_id, session_id: False)
    bodies = hostile.bodies(
        1000,
        lambda n: json.dumps(new_message(n, address=f"session:{uuid4()}")).encode(),
        lambda n: json.dumps(new_message(n, address=None)).encode(),
    )
    good = [new_message(number) for number in range(100)]
    mixed = [*bodies, *good]
    random.Random(7).shuffle(mixed)
    sender = Sender(url)
    sender.send(mixed)
    sender.send([new_message(900)], headers={"compression": "bogus"}, content_encoding="utf-7")
    with taking(url) as worker:
        wait_until(lambda: worker.taken >= 1101, 120)
    kept = Quarantined.objects.filter(project=project, source="amqp", state="waiting")
    assert sorted(bytes(row.raw) for row in kept) == sorted(bodies)
    assert not kept.filter(reason="").exists()
    assert Message.objects.count() == 101
    assert (sender.waiting(), sender.waiting(amqp.dead_letters_of("default"))) == (0, 0)


def test_the_same_id_with_other_content_is_quarantined(project: UUID, url: str) -> None:
    sender = Sender(url)
    sender.send([new_message(1), new_message(1, body="other")])
    with taking(url) as worker:
        wait_until(lambda: worker.taken == 2, 30)
    row = Quarantined.objects.get()
    assert (row.address, row.message_id) == ("desk", "m-00001") and "another message" in row.reason


def test_a_row_that_the_database_refuses_costs_no_other_and_is_kept_in_the_dead_letters(
    project: UUID, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import DataError

    store = amqp._store

    def refusing(project_id: Any, batch: Any) -> None:
        if any(b"refused" in arrival.body for arrival in batch):
            raise DataError("no room")
        store(project_id, batch)

    monkeypatch.setattr(amqp, "_store", refusing)
    sender = Sender(url)
    sender.send([new_message(1), new_message(2, body="refused"), new_message(3)])
    with taking(url) as worker:
        wait_until(lambda: worker.taken == 3, 30)
    assert sorted(Message.objects.values_list("message_id", flat=True)) == ["m-00001", "m-00003"]
    wait_until(lambda: sender.waiting(amqp.dead_letters_of("default")) == 1, 30)


def test_the_broker_is_restarted_twice_in_mid_ingest_and_nothing_is_lost(
    project: UUID, own_rabbitmq: RabbitMQ, url: str
) -> None:
    sender = Sender(url)
    count = 3000
    sender.send(new_message(number) for number in range(count))
    with taking(url) as worker:
        for share in (1, 2):
            wait_until(lambda share=share: worker.taken > share * 300, 120)
            own_rabbitmq.restart(immediate=share == 2)
        wait_until(lambda: Message.objects.count() == count and sender.waiting() == 0, 180)
    rows = Message.objects.order_by("seq").values_list("message_id", flat=True)
    assert list(rows) == [f"m-{number:05}" for number in range(count)]
    assert not Quarantined.objects.exists()


def test_a_second_process_stands_by_and_takes_over_so_that_a_queue_keeps_its_order(project: UUID, url: str) -> None:
    sender = Sender(url)
    with ExitStack() as standing_by:
        with taking(url) as first:
            sender.send(new_message(number) for number in range(10))
            wait_until(lambda: first.taken == 10, 30)
            second = standing_by.enter_context(taking(url))
            wait_until(lambda: second._queues, 30)
            sender.send(new_message(number) for number in range(10, 60))
            wait_until(lambda: first.taken + second.taken == 60, 30)
            assert second.taken == 0
        sender.send(new_message(number) for number in range(60, 70))
        wait_until(lambda: second.taken == 10, 30)
    rows = Message.objects.order_by("seq").values_list("message_id", flat=True)
    assert list(rows) == [f"m-{number:05}" for number in range(70)]


def test_the_command_takes_messages_and_stops_cleanly(project: UUID, url: str) -> None:
    sender = Sender(url)
    sender.send(new_message(number) for number in range(50))
    command = [sys.executable, "manage.py", "ingest", "--url", url, "--project", "default"]
    with subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: Message.objects.count() == 50, 120)
            process.terminate()
            told, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0 and "stopped after 50 messages" in told
    assert sender.waiting() == 0


def test_it_stops_also_while_the_database_is_away(project: UUID, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(project_id: Any, batch: Any) -> None:
        raise OperationalError("away")

    tried = []
    monkeypatch.setattr(amqp, "_store", lambda project_id, batch: tried.append(1) or away(project_id, batch))
    sender = Sender(url)
    sender.send([new_message(1)])
    with taking(url) as worker:
        wait_until(lambda: tried, 30)
        worker.stop()
    assert worker.taken == 0
    wait_until(lambda: sender.waiting() == 1, 10)


def test_the_command_idles_where_there_is_no_rabbitmq(project: UUID) -> None:
    command = [sys.executable, "manage.py", "ingest"]
    with subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert "idle until stopped" in process.stdout.readline()
            assert process.poll() is None
            process.terminate()
            told, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, told) == (0, "stopped after 0 messages\n")


def test_the_command_wants_a_rabbitmq(project: UUID) -> None:
    command = [sys.executable, "manage.py", "ingest", "--url", "redis://127.0.0.1/0"]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "RabbitMQ" in done.stderr
