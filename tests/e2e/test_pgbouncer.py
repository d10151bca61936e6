"""A whole Wardroom behind a PgBouncer in transaction mode: no statement relies on the connection of the one before."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.sync.client import connect

from tests.servers.stack import House
from tests.waiting import wait_until
from wardroom.client import Client

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

#: Sweeps of every kind, and what reads many rows, while others use the same three connections. There are more rounds
#: than the five after which psycopg prepares a statement.
ROUNDS = """
from config.schedule import JOBS
from core.db.batches import in_batches
from ledger.models import AuditEntry, Event
import orchestration.tasks
from config.celery import app
for _ in range(8):
    for job in JOBS:
        app.tasks[f"orchestration.{job}"].apply(throw=True)
    assert len(list(in_batches(Event.objects.all(), ["cursor"], 2))) >= Event.objects.count() - 50
    assert [row.pk for row in AuditEntry.objects.all().iterator(chunk_size=1)]
print("done")
"""


@pytest.fixture(scope="module")
def house(backend: str, module_stack: Callable[..., House]) -> House:
    if backend != "postgres":
        pytest.skip("PgBouncer stands before PostgreSQL")
    timings = {"sweep_secs": 1, "slow_sweep_secs": 1, "retention_sweep_secs": 2, "write_lock_secs": 5}
    return module_stack(pooled=True, web=2, timings=timings)


@pytest.fixture(scope="module")
def module_stack() -> Iterator[Callable[..., House]]:
    from tests.conftest import RUN

    made: list[House] = []

    def make(**options: object) -> House:
        made.append(House(RUN, database="postgres", broker="redis", **options))
        return made[-1].open()

    yield make
    for house in made:
        house.close()


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    # Tests share the house and run in any order: each looks at the lines of its own time.
    before = {name: len(house.logs(name)) for name in house.services}
    yield Client(house.url, house.key)
    said = "".join(house.logs(name)[before[name] :] for name in house.services)
    for fault in ("does not exist", "already exists", "Traceback", "prepared statement"):
        assert fault not in said, said[-4000:]


def test_a_gated_runbook_completes_and_its_events_stream(house: House, client: Client) -> None:
    id = client.spawn("!echo one\necho two", role="runbook")["id"]
    asked = wait_until(lambda: list(client.approvals(session=id, status="pending")), 60)[0]
    Client(house.urls[1], house.key).decide(asked, "approve")
    seen = []
    for event in client.events(id):
        seen.append(event["type"])
        if event["type"] == "session_completed":
            break
    assert {"approval_requested", "approval_decided", "tool_output"} <= set(seen)
    assert client.session(id)["status"] == "completed"


def test_sweeps_and_what_reads_many_rows_work_beside_deliveries(house: House, client: Client) -> None:
    stop = threading.Event()

    def deliver(number: int) -> int:
        sent = 0
        mine = Client(house.urls[number % 2], house.key)
        while not stop.is_set():
            ids = [f"{number}-{sent + n}" for n in range(5)]
            messages = [{"message_kind": "task", "body": id, "id": id} for id in ids]
            results = mine.post("mailboxes/pooled/messages", {"messages": messages})["results"]
            assert [result["status"] for result in results] == [201] * 5
            sent += 5
        return sent

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(deliver, number) for number in range(4)]
        try:
            assert house.manage("shell", "-v0", "-c", ROUNDS, timeout=120).endswith("done\n")
            house.manage("verify_audit")
        finally:
            stop.set()
        sent = sum(each.result() for each in running)
    taken: list[str] = []
    while page := client.post("mailboxes/pooled/drain", {"limit": 200}):
        if not page["messages"]:
            break
        ids = [message["id"] for message in page["messages"]]
        assert client.post("mailboxes/pooled/ack", {"claim": page["claim"], "ids": ids})["acked"] == ids
        taken += ids
    assert len(taken) == len(set(taken)) == sent


def test_the_watchdog_ends_a_silent_child(house: House, client: Client) -> None:
    limits = {"child_watchdog.max_idle_secs": 2, "child_watchdog.check_interval_secs": 1}
    born = client.spawn("wait", runner="external", metadata=limits)
    headers = {"Authorization": f"Bearer {born['child']['token']}"}
    with connect(born["child"]["websocket_url"], additional_headers=headers) as socket:
        assert json.loads(socket.recv(timeout=30))["kind"] == "run"
        over = client.wait_session(born["id"], 60)
    assert over["status"] == "timeout"
    assert "idle timeout" in over["error"]


def test_a_lock_that_is_held_is_a_503(house: House) -> None:
    with house._databases.connect(house._database) as database, database.transaction():  # type: ignore[attr-defined]
        database.execute("SELECT 1 FROM accounts_project FOR UPDATE")
        answer = house.client().post("/api/v1/sessions", json={"runner": "external", "assignment": "wait"})
        assert (answer.status_code, answer.json()["type"], answer.headers["retry-after"]) == (503, "unavailable", "5")
    assert house.client().post("/api/v1/sessions", json={"runner": "external", "assignment": "wait"}).status_code == 201
