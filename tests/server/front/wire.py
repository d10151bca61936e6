"""HTTP written by hand, for requests that a client library would never send."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

PATIENCE = 30.0
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> tuple[int, str]:
        """The status and type of a problem document."""
        assert self.headers["content-type"] == "application/problem+json", self
        return self.status, self.json()["type"]


class Wire:
    """One connection to a server."""

    def __init__(self, port: int, *, window: int = 0) -> None:
        """`window`: the bytes that this machine takes before somebody reads them; 0 for the usual."""
        self.socket = socket.socket()
        if window:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", port))
        self._rest = b""

    def head(self, method: str, path: str, *headers: str, token: str = "") -> None:
        """Send a request's head."""
        lines = [f"{method} {path} HTTP/1.1", "Host: testserver"]
        lines += [f"Authorization: Bearer {token}"] if token else []
        self.socket.sendall("\r\n".join([*lines, *headers, "", ""]).encode())

    def chunk(self, piece: bytes) -> None:
        self.socket.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")

    def answer(self) -> Answer:
        """The next answer, which has a length."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = int(headers.get("content-length", 0))
        while len(self._rest) < size:
            self._more()
        body, self._rest = self._rest[:size], self._rest[size:]
        return Answer(int(first.split()[1]), headers, body)

    def pour(self, most: int) -> int:
        """Send up to so many bytes until the other side has closed; how many it took."""
        sent, piece = 0, b"x" * 65536
        try:
            while sent < most:
                self.socket.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        return sent

    def is_closed(self) -> bool:
        """Wait for the other side to close, and drop its last bytes."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    def _more(self) -> None:
        chunk = self.socket.recv(65536)
        assert chunk, f"closed after {self._rest!r}"
        self._rest += chunk


@contextmanager
def wire(port: int, **options: int) -> Iterator[Wire]:
    connection = Wire(port, **options)
    try:
        yield connection
    finally:
        connection.socket.close()


def length(body: bytes | int) -> str:
    return f"Content-Length: {body if isinstance(body, int) else len(body)}"
