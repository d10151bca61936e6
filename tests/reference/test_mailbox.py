"""Bamboo's mailbox: deliver, drain, acknowledge, recover, and a consumer's own set of admitted ids."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from wardroom.admitted import AdmittedSet
from wardroom.client import Client

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def drained(client: Client, address: str, **options: Any) -> dict[str, Any]:
    return client.post(f"mailboxes/{address}/drain", {"limit": 1000, **options})


def test_fifty_writers_at_once_lose_nothing_and_each_keeps_its_order(client: Client) -> None:
    """deliver is safe under many writers."""
    address = f"desk-{uuid4()}"

    def write(writer: int) -> None:
        for number in range(4):
            body = {"id": f"{address}-{writer}-{number}", "message_kind": "task", "body": [writer, number]}
            client.post(f"mailboxes/{address}/messages", body)

    with ThreadPoolExecutor(16) as writers:
        list(writers.map(write, range(50)))
    messages = drained(client, address)["messages"]
    assert [each["seq"] for each in messages] == sorted(each["seq"] for each in messages)
    bodies = [each["body"] for each in messages]
    assert sorted(bodies) == [[writer, number] for writer in range(50) for number in range(4)]
    assert all([n for w, n in bodies if w == writer] == [0, 1, 2, 3] for writer in range(50))


def test_a_consumer_that_dies_before_its_ack_gets_the_message_again_and_admits_it_once(
    client: Client, tmp_path: Path
) -> None:
    """recover yields again what was claimed; AdmittedSet's insert is true only for a new id."""
    address, file = f"desk-{uuid4()}", tmp_path / "admitted.json"
    client.post(f"mailboxes/{address}/messages", {"id": address, "message_kind": "task", "body": "once"})
    done: list[str] = []

    def work(claim: dict[str, Any]) -> None:
        """Do what no life of this consumer has done. The work and the set are stored together."""
        admitted = AdmittedSet.from_json(file.read_text()) if file.exists() else AdmittedSet()
        done.extend(each["body"] for each in claim["messages"] if admitted.add(each["id"]))
        file.write_text(admitted.to_json())

    work(drained(client, address, consumer="worker", lease_secs=600))
    # It dies here, without an ack. Its next life has the same name.
    assert drained(client, address, consumer="another")["messages"] == []
    again = client.post(f"mailboxes/{address}/recover", {"consumer": "worker"})
    assert [each["id"] for each in again["messages"]] == [address]
    work(again)
    ack = {"claim": again["claim"], "ids": [address]}
    assert client.post(f"mailboxes/{address}/ack", ack)["acked"] == [address]
    assert client.post(f"mailboxes/{address}/ack", ack)["acked"] == [address], "an ack is idempotent"
    assert done == ["once"]
    assert client.post(f"mailboxes/{address}/recover", {"consumer": "worker"})["messages"] == []


def test_a_redelivery_of_a_claimed_message_adds_nothing(client: Client) -> None:
    """There, a redelivery overwrites the claimed copy, and the same id with another time is two messages."""
    address = f"desk-{uuid4()}"
    message = {"id": address, "message_kind": "task", "body": "once"}
    first = client.post(f"mailboxes/{address}/messages", message)
    claim = drained(client, address)
    moved = {**message, "created_at": "2020-01-01T00:00:00Z"}
    assert client.post(f"mailboxes/{address}/messages", moved)["seq"] == first["seq"]
    assert drained(client, address)["messages"] == []
    assert client.post(f"mailboxes/{address}/ack", {"claim": claim["claim"], "ids": [address]})["acked"] == [address]
    assert client.get(f"mailboxes/{address}")["new"] == 0
