"""Messages from RabbitMQ: one `manage.py ingest` on a full queue, beside the broker's own pace.

The queue is as ingest declares it (quorum, durable), the messages are persistent, and each is committed to a PostgreSQL
that waits for its disk before it is acknowledged. The peer takes as many from the same broker with the same library,
acknowledges them and does nothing else: what a Python process with kombu cannot pass.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import amqp
import kombu

from benchmarks import stage
from benchmarks.figures import Figure, Table, main
from tests.servers.databases import ROOT
from tests.servers.process import dies_with_parent
from tests.waiting import wait_until

COUNT = 20_000
ADDRESSES = 64
BATCH = 500


def fill(url: str, queue: str) -> tuple[str, str]:
    """`COUNT` persistent messages into the queue; the ids of the first and the last."""
    run = uuid4().hex
    with kombu.Connection(url) as broker:
        channel: Any = broker.channel()
        for number in range(COUNT):
            letter = {"id": f"{run}-{number}", "address": f"desk-{number % ADDRESSES}", "message_kind": "task"}
            raw = json.dumps(letter | {"body": {"text": "look into the failing build of last night", "priority": 2}})
            channel.basic_publish(
                amqp.Message(raw, delivery_mode=2, content_type="application/json"), routing_key=queue
            )
        wait_until(lambda: channel.queue_declare(queue, passive=True).message_count == COUNT, 60)
    return f"{run}-0", f"{run}-{COUNT - 1}"


def ingested(url: str, first: str, last: str) -> float:
    """Messages a second, from the commit of the first to that of the last."""
    from mailbox.models import Message

    def committed(id: str) -> float:
        return when(lambda: Message.objects.filter(message_id=id).exists())

    command = [*dies_with_parent(), sys.executable, "manage.py", "ingest", "--url", url]
    with subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.DEVNULL) as process:
        try:
            began = committed(first)
            return COUNT / (committed(last) - began)
        finally:
            process.terminate()


def taken(url: str, queue: str) -> float:
    """Messages a second that are taken and acknowledged, and nothing else."""
    batch: list[Any] = []
    done, began = 0, time.perf_counter()
    with kombu.Connection(url) as broker:
        channel: Any = broker.channel()
        channel.auto_decode = False
        channel.basic_qos(0, 2 * BATCH, False)
        channel.basic_consume(queue, callback=batch.append)
        while done < COUNT:
            broker.drain_events(timeout=10)
            if len(batch) >= BATCH or done + len(batch) == COUNT:
                channel.basic_ack(batch[-1].delivery_tag, multiple=True)
                done += len(batch)
                batch.clear()
    return COUNT / (time.perf_counter() - began)


def when(seen: Callable[[], object]) -> float:
    """The moment at which it is first seen."""
    wait_until(seen, 60)
    return time.perf_counter()


def measure(rounds: int) -> Table:
    """Ours and the bare consumer, round by round."""
    ours, bare = [], []
    with stage.servers("postgres") as run:
        from mailbox.ingest import amqp as ingest_amqp

        url = run.up(run.rabbitmq).create("bench")
        queue = ingest_amqp.queue_of("default")
        with kombu.Connection(url) as broker:
            for each in (ingest_amqp.dead_letters_of("default"), queue):
                each.bind(broker.channel()).queue_declare()
        for _ in range(rounds):
            ours.append(ingested(url, *fill(url, queue.name)))
            fill(url, queue.name)
            bare.append(taken(url, queue.name))
    figures = [
        Figure("ingest, durable before the ack", "messages/s", ours, "the goal", [5_000.0] * rounds, 1.0),
        Figure("the same", "messages/s", ours, "taking and acknowledging alone", bare),
    ]
    return Table("ingest", "Messages from RabbitMQ", figures, (__doc__ or "").split("\n\n", 1)[1])


if __name__ == "__main__":
    main(measure)
