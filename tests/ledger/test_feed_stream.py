"""The feed as a stream over real web processes: no gap, no duplicate, on any process, with quick ends."""

from __future__ import annotations

import asyncio
import itertools
import random
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import httpx
import pytest

from ledger import streams
from tests.ledger.reading import events, frames, stream
from tests.servers.databases import ROOT
from tests.servers.stack import House

Stack = Callable[..., House]
pytestmark = pytest.mark.stack
FEED = "/api/v1/feed"


def write(house: House, code: str) -> None:
    """Run a line of Python in the house, in one unit of work."""
    prelude = "from accounts import projects; from ledger import unit_of_work; p = projects.default().pk"
    house.manage("shell", "--no-imports", "-c", f"{prelude}\nwith unit_of_work.transaction():\n    {code}")


@pytest.fixture
def house(stack: Stack) -> House:
    timings = {"stream_beat_secs": 0.5, "hub_poll_secs": 1, "page_recheck_secs": 0.5}
    return stack(web=2, worker=False, beat=False, timings=timings)


def test_a_reader_that_hops_between_web_processes_under_load_gets_every_event_once_and_in_order(house: House) -> None:
    command = [sys.executable, "-m", "tests.ledger.writer", "4", "60"]
    writer = subprocess.Popen(command, env=house.environment, cwd=ROOT)
    dice, seen = random.Random(7), [0]
    hops = 0
    deadline = time.monotonic() + 90
    while writer.poll() is None or seen[-1] < head(house):
        assert time.monotonic() < deadline
        hops += 1
        with house.client(1 + hops % 2) as client, stream(client, FEED, Last_Event_ID=str(seen[-1])) as answer:
            wanted = dice.randint(1, 25)
            for frame in frames(answer):
                if frame.data:
                    seen.append(int(frame.id))
                    assert frame.json["cursor"] == seen[-1]
                    wanted -= 1
                if wanted <= 0 or (frame.comment and seen[-1] == head(house)):
                    break
    assert writer.returncode == 0
    assert seen == list(range(head(house) + 1))
    assert hops > 5 and seen[-1] > 200


def head(house: House) -> int:
    """The newest cursor, read page by page as JSON."""
    cursor = 0
    with house.client() as client:
        while True:
            page = client.get(FEED, params={"after": cursor, "limit": 500}).json()
            cursor = page["cursor"]
            if page["next"] is None:
                return int(cursor)


def test_an_event_reaches_a_reader_at_the_other_web_process_at_once(house: House) -> None:
    write(house, "unit_of_work.event(p, 'first')")
    with house.client(2) as client, stream(client, FEED) as answer:
        told = events(answer)
        assert next(told).json["type"] == "first"
        writer = threading.Thread(target=write, args=(house, "unit_of_work.event(p, 'second', {'text': 'a\\u2028b'})"))
        writer.start()
        frame = next(told)
        writer.join()
        assert frame.json["type"] == "second"
        assert frame.json["payload"] == {"text": "a\u2028b"}
        assert frame.json["source"] == "wardroom"


def test_without_the_broker_the_poll_finds_the_events(house: House) -> None:
    with house.client() as client, stream(client, FEED) as answer:
        told = events(answer)
        house.broker.kill()
        write(house, "unit_of_work.event(p, 'unheard')")
        assert next(told).json["type"] == "unheard"


def test_a_quiet_stream_says_when_to_come_back_and_beats(house: House) -> None:
    with house.client() as client, stream(client, FEED) as answer:
        told = list(itertools.islice(frames(answer), 3))
        assert told[0].other == {"retry": "1000"}
        assert [frame.comment for frame in told[1:]] == ["beat", "beat"]


def test_a_stop_ends_every_stream_at_once_and_the_process_with_them(house: House) -> None:
    patient = house.services["web1"].command
    patient[patient.index("--timeout-graceful-shutdown") + 1] = "60"  # So long it would wait for a stream that stays.
    house.restart("web1")
    with house.client() as client, stream(client, FEED) as answer:
        told = frames(answer)
        next(told)
        started = time.monotonic()
        house.stop("web1")
        assert time.monotonic() - started < 20
        assert all(not frame.data for frame in told)


def test_a_key_that_ends_ends_its_stream(house: House) -> None:
    with house.client() as client, stream(client, FEED) as answer:
        told = frames(answer)
        next(told)
        write(
            house,
            "from accounts.models import Credential; from django.utils import timezone; "
            "Credential.objects.update(ended_at=timezone.now())",
        )
        last = [frame for frame in told if frame.data]
        assert [frame.event for frame in last] == ["end"]
        with pytest.raises(AssertionError, match="unauthenticated"), stream(client, FEED):
            pass


def test_a_cursor_older_than_what_is_kept_gets_a_resync_and_goes_on_from_the_head(house: House) -> None:
    write(house, "[unit_of_work.event(p, 'e') for _ in range(5)]")
    write(
        house,
        "from ledger.models import Event, Head; Event.objects.filter(cursor__lte=3).delete(); "
        "Head.objects.update(oldest=3)",
    )
    with house.client() as client, stream(client, FEED, Last_Event_ID="2") as answer:
        told = events(answer)
        frame = next(told)
        assert (frame.event, frame.id, frame.json) == ("resync", "5", {"cursor": 5})
        write(house, "unit_of_work.event(p, 'after')")
        assert next(told).json["cursor"] == 6


def test_a_key_without_the_scope_and_nobody_at_all_are_refused_before_the_stream(house: House) -> None:
    answer = httpx.get(house.url + FEED, headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.json()["type"]) == (401, "unauthenticated")
    token = house.manage("create_api_key", "--user", house.admin_name, "--scope", "approvals:read")
    key = token.strip().rpartition(" ")[2]
    refused = house.client(key=key).get(FEED, headers={"Accept": "text/event-stream"})
    assert (refused.status_code, refused.json()["type"]) == (403, "forbidden")
    bad: Any = house.client().get(FEED, headers={"Accept": "text/event-stream", "Last-Event-ID": "x"})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "after")


async def test_a_reader_that_stops_reading_is_let_go(timings: Any) -> None:
    timings(send_timeout_secs=0.2)
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b": more\n\n"
        finally:
            closed.set()

    async def never_drains(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async with asyncio.timeout(5):
        await streams.EventStream("reader", endless()).stream_response(never_drains)
    assert closed.is_set()
