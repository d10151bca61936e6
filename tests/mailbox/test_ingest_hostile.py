"""AMQP properties, headers and frames of every odd kind: each is one message's own affair."""

from __future__ import annotations

import json
from struct import pack
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import amqp
import kombu
import pytest
from django.db import OperationalError
from psycopg import errors

from accounts.models import Project
from mailbox import quarantine
from mailbox.ingest import amqp as ingest_amqp
from mailbox.ingest import frames
from mailbox.models import Message, Quarantined
from tests.mailbox.hostile import new_message
from tests.mailbox.test_ingest import Sender, own_rabbitmq, project, taking, url
from tests.waiting import wait_until

__all__ = ["own_rabbitmq", "project", "url"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]

NOT_UTF8 = b"caf\xe9"
FLAGS = {name: 0x8000 >> place for place, (name, _) in enumerate(frames.PROPERTIES)} | {
    "timestamp": 0x0040,
    "type": 0x0020,
    "user_id": 0x0010,
    "app_id": 0x0008,
    "cluster_id": 0x0004,
}
SHORT_TEXTS = sorted(
    {name for name, kind in frames.PROPERTIES if kind == "short text"} | {"type", "app_id", "cluster_id"}
)


class Raw(amqp.Message):
    """A message with these bytes as its properties."""

    def __init__(self, body: bytes, properties: bytes) -> None:
        super().__init__(body)
        self.raw_properties = properties

    def _serialize_properties(self) -> bytes:
        return self.raw_properties


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def table(*fields: bytes) -> bytes:
    content = b"".join(fields)
    return pack(">I", len(content)) + content


def array(*items: bytes) -> bytes:
    return b"A" + table(*items)


def header(value: bytes, name: bytes = b"odd") -> bytes:
    """Properties with this one header."""
    return pack(">H", FLAGS["headers"]) + table(short(name) + value)


def nested(value: bytes, wrap: Any, levels: int) -> bytes:
    for _ in range(levels):
        value = wrap(value)
    return value


def properties(**named: bytes) -> bytes:
    ordered = sorted(named, key=lambda name: -FLAGS[name])
    return pack(">H", sum(FLAGS[name] for name in named)) + b"".join(named[name] for name in ordered)


# Each of these ended the process, or is of the kind that did.
ODD = {
    "a header that is a timestamp of milliseconds": header(b"T" + pack(">Q", 1767225600000)),
    "a header that is the last timestamp": header(b"T" + pack(">Q", 2**64 - 1)),
    "a timestamp of milliseconds": properties(timestamp=pack(">Q", 1767225600000)),
    "the last timestamp": properties(timestamp=pack(">Q", 2**64 - 1)),
    **{
        f"a {name} that is not UTF-8": properties(**{name: short(NOT_UTF8)})
        for name in SHORT_TEXTS
        if name != "expiration"
    },
    "every text of them that is not UTF-8": properties(
        **{name: short(NOT_UTF8) for name in SHORT_TEXTS if name != "expiration"}
    ),
    "a header whose name is not UTF-8": header(b"t\x01", NOT_UTF8),
    "a header whose text is not UTF-8": header(b"S" + table(NOT_UTF8)),
    "1,500 nested arrays": header(nested(b"t\x01", array, 1500)),
    "1,500 nested tables": header(nested(b"t\x01", lambda value: b"F" + table(short(b"k") + value), 1500)),
    "a header of 100 kB": header(b"S" + table(b"x" * 100_000)),
    "4,000 headers": pack(">H", FLAGS["headers"]) + table(*(short(b"h%d" % n) + b"t\x01" for n in range(4000))),
    "a decimal of many digits": header(b"D\xff" + pack(">i", 2**31 - 1)),
    "a past that the broker wrote": header(array(b"F" + table(short(b"count") + b"l" + pack(">q", 2**62))), b"x-death"),
    "a past that the broker did not write": header(b"S" + table(NOT_UTF8), b"x-death"),
    "the highest priority": properties(priority=b"\xff"),
}


def publish(
    sender: Sender, bodies: list[bytes], raw: bytes, exchange: str = "", routing_key: str | None = None
) -> None:
    """Publish with confirms, so that a refusal of the broker is an error."""
    with kombu.Connection(sender.url, transport_options={"confirm_publish": True}) as broker:
        channel: Any = broker.channel()
        for body in bodies:
            channel.basic_publish(
                Raw(body, raw), exchange=exchange, routing_key=sender.queue.name if routing_key is None else routing_key
            )


def as_bytes(number: int, **more: object) -> bytes:
    return json.dumps(new_message(number, **more)).encode()


def test_no_property_or_header_stops_a_queue_and_what_is_not_used_does_no_harm(project: UUID, url: str) -> None:
    other = Project.objects.create(slug="other")
    sender, beside = Sender(url), Sender(url, "other")
    for number, raw in enumerate(ODD.values()):
        publish(sender, [as_bytes(number)], raw)
    beside.send([new_message(number) for number in range(1000, 1010)])
    with taking(url) as worker:
        wait_until(lambda: worker.taken == len(ODD) + 10, 60)
    assert Message.objects.filter(project=project).count() == len(ODD)
    assert Message.objects.filter(project=other).count() == 10
    assert not Quarantined.objects.exists()
    assert (sender.waiting(), beside.waiting()) == (0, 0)


def test_a_message_id_that_is_not_utf8_counts_only_where_the_message_has_none(project: UUID, url: str) -> None:
    without = {key: value for key, value in new_message(1).items() if key != "id"}
    sender = Sender(url)
    raw = properties(message_id=short(NOT_UTF8))
    publish(sender, [json.dumps(without).encode(), json.dumps(without | {"id": None}).encode(), as_bytes(2)], raw)
    with taking(url) as worker:
        wait_until(lambda: worker.taken == 3, 30)
    assert [row.message_id for row in Message.objects.all()] == ["m-00002"]
    assert {row.reason for row in Quarantined.objects.all()} == {
        "the AMQP property message_id is not UTF-8, and the message has no id"
    }
    assert {(row.address, row.size == len(bytes(row.raw))) for row in Quarantined.objects.all()} == {("desk", True)}


def test_a_route_that_is_not_utf8_does_no_harm(project: UUID, url: str) -> None:
    sender = Sender(url)
    with kombu.Connection(url) as broker:
        channel: Any = broker.channel()
        channel.exchange_declare("everything", "fanout", durable=True, auto_delete=False)
        channel.queue_bind(sender.queue.name, "everything")
    publish(sender, [as_bytes(1)], properties(), "everything", NOT_UTF8)
    with taking(url) as worker:
        wait_until(lambda: worker.taken == 1, 30)
    assert Message.objects.count() == 1


def test_a_body_beyond_the_limit_is_kept_by_the_broker_and_only_begun_in_quarantine(project: UUID, url: str) -> None:
    sender = Sender(url)
    large, most = b"x" * (3 * quarantine.most_bytes()), quarantine.most_bytes()
    sender.send([new_message(1), large, new_message(2), b"y" * most])
    with taking(url) as worker:
        wait_until(lambda: worker.taken == 4, 60)
    cut, whole = Quarantined.objects.order_by("-size")
    assert (bytes(cut.raw), cut.size) == (large[:most], len(large)) and "dead letters" in cut.reason
    assert (len(bytes(whole.raw)), whole.size) == (most, most)
    assert Message.objects.count() == 2
    dead = ingest_amqp.dead_letters_of("default")
    wait_until(lambda: sender.waiting(dead) == 1 and sender.waiting() == 0, 30)
    with kombu.Connection(url) as broker:
        assert bytes(dead.bind(broker.channel()).get().body) == large


def test_a_queue_that_was_declared_otherwise_stops_no_other_project(project: UUID, url: str) -> None:
    Project.objects.create(slug="other")
    with kombu.Connection(url) as broker:
        asking: Any = broker.channel()
        asking.queue_declare(ingest_amqp.queue_of("default").name, durable=True, auto_delete=False)
    beside = Sender(url, "other")
    beside.send([new_message(1)])
    with taking(url) as worker:
        wait_until(lambda: worker.taken == 1, 30)
    assert Message.objects.count() == 1


@pytest.mark.parametrize("failure", [RecursionError("deep"), OverflowError("large"), ValueError("odd")])
def test_a_message_that_fails_in_a_way_that_nobody_foresaw_goes_alone_to_the_dead_letters(
    project: UUID, url: str, monkeypatch: pytest.MonkeyPatch, failure: Any
) -> None:
    reading = ingest_amqp.read

    def failing(arrival: Any) -> Any:
        if b"unforeseen" in arrival.body:
            raise failure
        return reading(arrival)

    monkeypatch.setattr(ingest_amqp, "read", failing)
    sender = Sender(url)
    sender.send([new_message(1), new_message(2, body="unforeseen"), new_message(3)])
    with taking(url) as worker:
        wait_until(lambda: worker.taken == 3, 30)
    assert Message.objects.count() == 2
    wait_until(lambda: sender.waiting(ingest_amqp.dead_letters_of("default")) == 1, 30)


def test_a_row_that_is_beyond_a_limit_of_the_database_is_not_waited_for(
    project: UUID, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ingest_amqp._store

    def refusing(project_id: Any, batch: Any) -> None:
        if any(b"too much" in arrival.body for arrival in batch):
            raise OperationalError("index row size exceeds maximum") from errors.ProgramLimitExceeded()
        store(project_id, batch)

    monkeypatch.setattr(ingest_amqp, "_store", refusing)
    sender = Sender(url)
    sender.send([new_message(1), new_message(2, body="too much"), new_message(3)])
    with taking(url) as worker:
        wait_until(lambda: worker.taken == 3, 30)
    assert Message.objects.count() == 2


def received(*raw_frames: tuple[int, bytes], most: int = 1000) -> list[frames.Arrival]:
    """Return the messages that a connection reads from these frames of one channel."""
    found: list[frames.Arrival] = []
    connection = SimpleNamespace(bytes_recv=0)
    on_frame = frames.reader(most)(connection, lambda channel, method, payload, content: found.append(content))
    for kind, payload in raw_frames:
        on_frame((kind, 1, memoryview(payload)))
    return found


DELIVER = (1, pack(">HH", 60, 60) + short(b"tag") + pack(">QB", 7, 0) + short(b"exchange") + short(b"key"))


def content(raw: bytes, body: bytes = b"{}") -> tuple[tuple[int, bytes], ...]:
    return DELIVER, (2, pack(">HHQ", 60, 0, len(body)) + raw), (3, body)


@pytest.mark.parametrize(
    ("raw", "message_id"),
    [
        (properties(message_id=short(b"m")), b"m"),
        # The broker itself refuses these two from a sender.
        (properties(delivery_mode=b"\x07", message_id=short(b"m")), b"m"),
        (properties(headers=table(short(b"h") + b"d" + pack(">d", float("nan"))), message_id=short(b"m")), b"m"),
        (properties(headers=table(short(b"h") + b"?what"), message_id=short(b"m")), b"m"),
        (properties(content_type=short(b"t"), priority=b"\1", expiration=short(b"soon"), message_id=short(b"m")), b"m"),
        (properties(message_id=b"\xffm"), None),
        (properties(headers=pack(">I", 2**32 - 1), message_id=short(b"m")), None),
        (properties(headers=b"\0", message_id=b""), None),
        (properties(content_type=b"", message_id=b""), None),
        (pack(">H", FLAGS["message_id"] | 1) + pack(">H", 0) + short(b"m"), None),
        (b"\0", None),
        (b"", None),
    ],
)
def test_a_frame_that_is_cut_or_of_an_unknown_type_still_gives_its_body(raw: Any, message_id: bytes | None) -> None:
    [arrival] = received(*content(raw), *content(properties()))[:1]
    assert (arrival.body, arrival.message_id, arrival.is_whole) == (b"{}", message_id, True)


def test_a_body_comes_in_parts_and_no_more_than_the_limit_is_kept() -> None:
    header_frame = (2, pack(">HHQ", 60, 0, 12) + properties())
    [arrival] = received(DELIVER, header_frame, (3, b"abcd"), (3, b"efgh"), (8, b""), (3, b"ijkl"), most=6)
    assert (arrival.body, arrival.kept, arrival.size, arrival.is_whole) == (b"abcdef", 6, 12, False)
    [empty] = received(DELIVER, (2, pack(">HHQ", 60, 0, 0) + properties()))
    assert (empty.body, empty.is_whole) == (b"", True)
