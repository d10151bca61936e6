"""The worst that one token can send: what it takes of the web process, and what others feel of it. By `make chaos`."""

import json
import math
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.servers.process import dies_with_parent
from tests.waiting import breathe

pytestmark = [pytest.mark.stack, pytest.mark.chaos, pytest.mark.timeout(300)]

MIB = 1024 * 1024
# What the web process may take over what it takes at rest.
CEILING = 256 * MIB
# The 95th percentile of other callers, in seconds.
PATIENCE = {"sqlite": 1.0, "postgres": 0.25}
FLOOD = Path(__file__).with_name("flood.py")


class Web:
    """A web process of a house, seen from outside."""

    def __init__(self, house):
        self.house = house
        self.pid = house.services["web1"].process.pid

    def peak(self):
        """The most memory since `rest`."""
        return self._status("VmHWM")

    def rest(self):
        """Begin to look for a peak; the memory now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self._status("VmRSS")

    def _status(self, name):
        found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024


class Child:
    """An external session, and its child's token."""

    def __init__(self, house):
        made = house.client().post("/api/v1/sessions", json={"assignment": "flood", "runner": "external"}).json()
        self.id, self.token, self.url = made["id"], made["child"]["token"], made["child"]["websocket_url"]
        self.events_url = f"{house.url}/api/v1/sessions/{self.id}/events"
        self.headers = {"Authorization": f"Bearer {self.token}"}

    def connect(self):
        socket = connect(
            self.url,
            subprotocols=["wardroom.v1"],
            additional_headers=self.headers,
            proxy=None,
            compression=None,
            max_size=None,
        )
        socket.send(json.dumps({"kind": "hello", "attempt": 1}))
        socket.recv()
        return socket

    def flood(self, kind, secs):
        command = [*dies_with_parent(), sys.executable, str(FLOOD), self.url, self.token, kind, str(secs)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "began\n"
        return process


def warmed(house):
    """The house after its first calls, when everything is imported."""
    client = house.client()
    for _ in range(20):
        client.get("/api/v1/sessions").raise_for_status()
    return house


def large(seq, value):
    return f'{{"kind":"event","seq":{seq},"event":{{"type":"large","n":{value}}}}}'


class Others:
    """Other callers: each reads and writes all the time, and notes how long every call takes."""

    def __init__(self, house, callers=2):
        self._clients = [house.client() for _ in range(callers)]
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(client,)) for client in self._clients]
        self.took, self.refused = [], []

    def _call(self, client):
        while not self._ended.is_set():
            for method, path, body in (
                ("POST", "/api/v1/sessions", {"assignment": "work", "runner": "external"}),
                ("GET", "/api/v1/sessions?limit=10", None),
                ("POST", "/api/v1/mailboxes/quiet/messages", {"message_kind": "task", "body": "hello"}),
            ):
                began = time.monotonic()
                answer = client.request(method, path, json=body)
                self.took.append(time.monotonic() - began)
                if answer.status_code >= 400:
                    self.refused.append((answer.status_code, answer.text[:200]))
            self._ended.wait(0.02)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def p95(self):
        return sorted(self.took)[math.ceil(len(self.took) * 0.95) - 1]


def report(what, **figures):
    """Shown by `pytest -s`, and in the log of `make chaos`."""
    print(f"\nCEILING {what}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))


def mib(count):
    return f"{count / MIB:.0f} MiB"


def test_pages_of_large_events(stack):
    house = warmed(stack(worker=False, beat=False))
    web, child = Web(house), Child(house)
    rest = web.rest()
    with child.connect() as socket:
        for seq in range(1, 121):
            socket.send(large(seq, "[" + "[]," * 30_000 + '"' + "x" * 900_000 + '"]'))
        while json.loads(socket.recv(timeout=60)).get("seq") != 120:
            pass
    written = web.peak() - rest

    def pages(_):
        seen, after = 0, 0
        while after is not None:
            answer = httpx.get(
                child.events_url, params={"limit": 500, "after": after}, headers=child.headers, timeout=60
            )
            answer.raise_for_status()
            assert len(answer.content) < 2 * MIB
            page = answer.json()
            seen, after = seen + len(page["results"]), page["next"]
        return seen

    web.rest()
    with ThreadPoolExecutor(6) as pool:
        assert min(pool.map(pages, range(6))) >= 120
    read = web.peak() - rest
    report("120 events of 1 MB", written=mib(written), read=mib(read))
    assert max(written, read) < CEILING


def test_frames_of_many_values_on_many_sockets(stack):
    house = warmed(stack(worker=False, beat=False))
    web = Web(house)
    children = [Child(house) for _ in range(16)]
    rest = web.rest()
    refused = "[" + "[]," * (MIB // 3 - 100) + "1]"
    taken = "[" + "[]," * 49_000 + '"' + "x" * 850_000 + '"]'

    def send(child):
        with child.connect() as socket:
            for seq, value in enumerate((taken, taken, refused), 1):
                socket.send(large(seq, value))
            try:
                while True:
                    socket.recv(timeout=60)
            except ConnectionClosed:
                return socket.close_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(send, children)) == {4400}
    report("16 sockets, 3 frames of 1 MiB each", peak=mib(web.peak() - rest))
    assert web.peak() - rest < CEILING


@pytest.mark.parametrize("kind", ["event_batch", "run_ack", "transcript"])
def test_others_hardly_notice_three_children_that_flood(stack, backend, kind):
    house = warmed(stack(worker=False, beat=False))
    web = Web(house)
    with Others(house) as quiet:
        breathe(5)
    rest = web.rest()
    floods = [Child(house).flood(kind, 20) for _ in range(3)]
    with Others(house) as others:
        told = [json.loads(flood.communicate()[0] or "{}") for flood in floods]
    figures = {"alone": f"{quiet.p95:.3f} s", "p95": f"{others.p95:.3f} s", "worst": f"{max(others.took):.3f} s"}
    report(f"3 x {kind}", **figures, calls=len(others.took), sent=told, peak=mib(web.peak() - rest))
    assert not others.refused
    assert others.p95 < PATIENCE[backend]
    assert web.peak() - rest < CEILING
