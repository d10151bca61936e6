"""A load generator in a process of its own: `python -m benchmarks._calls '{"ports": ..., ...}'` prints calls a second.

Each connection sends its next request after the last answer, and stays open where the server keeps it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvloop

ROOT = Path(__file__).resolve().parents[1]


def calls(port: int, path: str, token: str, *, connections: int, many: int = 1, secs: float = 4.0) -> float:
    """Answered calls a second, each of `many` messages with ids of their own; every answer must be a 200 or 201."""
    order = {"ports": [port], "path": path, "token": token, "connections": connections, "many": many, "secs": secs}
    command = [sys.executable, "-m", "benchmarks._calls", json.dumps(order)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout)


def each(ports: Sequence[int], token: str, requests: Sequence[tuple[str, str, str]], *, connections: int) -> float:
    """Answered calls a second of these requests (method, path, body), each sent once, to one of the ports in turn."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(requests, file)
        file.flush()
        order = {"ports": ports, "token": token, "connections": connections, "path": "", "many": 1, "file": file.name}
        command = [sys.executable, "-m", "benchmarks._calls", json.dumps(order)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout)


class Caller(asyncio.Protocol):
    """One caller."""

    def __init__(self, load: Load, port: int) -> None:
        self.load, self.port = load, port
        self.heard = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.next()

    def next(self) -> None:
        request = self.load.request(self.port)
        if request is None:
            self.transport.close()
        else:
            self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.heard += data
        head, found, body = self.heard.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self.heard = b""
        self.load.answered(head, body)
        if b"connection: close" not in head.lower():
            self.next()

    def connection_lost(self, error: Exception | None) -> None:
        self.load.lost(self)


class Load:
    """All callers, and what they were answered."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.done = 0
        self.failed, self.ended, self.closed, self.last = "", False, 0, 0.0
        self.number, self.run = count(), uuid4().hex
        self.file = iter(json.loads(Path(order["file"]).read_text())) if "file" in order else None
        self.head = (
            "{} {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n"
            f"Authorization: {order['token']}\r\nContent-Type: application/json\r\nContent-Length: "
        )

    def request(self, port: int) -> bytes | None:
        """The next request. None: all of the file were sent."""
        if self.file is not None:
            method, path, body = next(self.file, (None, "", ""))
            return None if method is None else self.whole(port, method, path, body)
        each = [f'{{"id": "{self.run}-{next(self.number)}", {REST}}}' for _ in range(self.order["many"])]
        body = each[0] if len(each) == 1 else f'{{"messages": [{", ".join(each)}]}}'
        return self.whole(port, "POST", self.order["path"], body)

    def whole(self, port: int, method: str, path: str, body: str) -> bytes:
        return f"{self.head.format(method, path, port)}{len(body)}\r\n\r\n{body}".encode()

    def answered(self, head: bytes, body: bytes) -> None:
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            self.failed = (head + b"\n" + body).decode(errors="replace")
        self.done += 1
        self.last = time.perf_counter()

    def lost(self, caller: Caller) -> None:
        if self.file is not None and self.file.__length_hint__() == 0:
            self.closed += 1
            self.ended = self.closed == self.order["connections"]
        elif not self.failed:
            task = asyncio.get_running_loop().create_task(self.connect(caller.port))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def connect(self, port: int) -> None:
        await asyncio.get_running_loop().create_connection(lambda: Caller(self, port), "127.0.0.1", port)

    async def measure(self) -> float:
        self.tasks: set[asyncio.Task[None]] = set()
        ports = islice(cycle(self.order["ports"]), self.order["connections"])
        await asyncio.gather(*(self.connect(port) for port in ports))
        if self.file is not None:
            began = time.perf_counter()
            while not self.ended:
                await asyncio.sleep(0.01)
            if self.failed:
                raise SystemExit(self.failed)
            return self.done / (self.last - began)
        await asyncio.sleep(0.5)
        began, before = time.perf_counter(), self.done
        await asyncio.sleep(self.order["secs"])
        rate = (self.done - before) / (time.perf_counter() - began)
        if self.failed:
            raise SystemExit(self.failed)
        return rate


REST = '"message_kind": "task", "body": {"text": "look into the failing build of last night", "priority": 2}'

if __name__ == "__main__":
    print(uvloop.run(Load(json.loads(sys.argv[1])).measure()))
