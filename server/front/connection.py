"""uvicorn's HTTP connection with a deadline for every wait, and a limit on sockets.

Use: `uvicorn --http server.front.connection:FrontConnection`. uvicorn itself waits without limit for a request, for the
rest of a head and for a reader of its answer, and accepts a head of any size.
"""

from __future__ import annotations

import asyncio
import json
import resource
from collections import defaultdict
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from core.limits import LIMITS
from core.web import callers, problems
from core.web.problems import Problem
from server.front import pressure
from server.front.exchange import KNOWN, WHOLE

Silent = dict["FrontConnection", None]

#: Connections without a whole request and without a known caller, by address, oldest first.
_silent: defaultdict[str, Silent] = defaultdict(dict)
_everybody_silent: Silent = {}


def most_sockets() -> int:
    """Return the limit of connections: the setting, or less when the limit of open files is lower."""
    wanted: int = LIMITS.connections
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return wanted
    # A quarter of the files, at least 40, is reserved for databases, the broker, logs and listening.
    return max(4, min(wanted, files - max(40, files // 4)))


class FrontConnection(HttpToolsProtocol):
    """One connection until it ends or becomes a WebSocket."""

    _deadline: asyncio.TimerHandle | None = None
    _write_deadline: asyncio.TimerHandle | None = None
    # Seconds that the reader of this answer may still be late; the time and size at which it became slow.
    _patience = 0.0
    _paused_at, _unread = 0.0, 0
    _address = ""
    # Bytes received since the last head was complete. It bounds heads, trailers and bodies that are not read.
    _bytes = 0
    _in_head = False
    _is_silent = False
    _is_known = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or refuse it when there are too many."""
        super().connection_made(transport)
        self._address = callers.address({"client": self.client})
        if len(self.connections) > most_sockets() and not _close_oldest(_everybody_silent):
            pressure.note("connections")
            return self._refuse(problems.busy("There are too many connections."))
        self._make_room()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from the tables."""
        self._stop_waiting()
        self._writing_goes_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and bound the bytes outside a body that the app reads."""
        super().data_received(data)
        # After an upgrade the connection belongs to the WebSocket: no request is expected.
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        self._bytes += len(data)
        if self.cycle is not None and not self.cycle.response_complete:
            # The gate bounds the time for a body. Until it is complete or its caller known, the connection is silent.
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            if self._is_known or not self.cycle.more_body:
                self._speaks()
            elif not self._is_silent:
                self._make_room()
                self._is_silent = True
                _silent[self._address][self] = _everybody_silent[self] = None
            # Chunks, their extensions and trailers add to the size of the body.
            if self._bytes > 4 * LIMITS.max_request_bytes:
                self.transport.close()
        elif self._bytes > LIMITS.max_head_bytes:
            self._give_up(Problem("too-large", 431, "The head of the request is too long."))
        elif self._deadline is None:
            self._make_room()
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """Start a request: the parser has seen its first byte."""
        self._bytes = 0
        self._in_head = True
        self._is_known = False
        self._patience = LIMITS.send_timeout_secs
        super().on_message_begin()

        def caller_is_known() -> None:
            self._is_known = True
            self._speaks()

        self.scope[KNOWN] = caller_is_known  # type: ignore[literal-required]
        # Of pipelined requests this is the latest: the bodies of those before it are whole.
        self.scope[WHOLE] = lambda: not self.cycle.more_body  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        """Note that the head is complete."""
        self._in_head = False
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Note that the answer is written. The next request may come."""
        self._bytes = 0
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket."""
        self._stop_waiting()
        self._writing_goes_on()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """Start the deadline for a slow reader: the remaining grace plus the time for its bytes at the lowest rate.

        One grace covers the whole answer.
        """
        super().pause_writing()
        if self._write_deadline is None:
            waits = self.transport.get_write_buffer_size()
            self._paused_at, self._unread = self.loop.time(), waits
            secs = self._patience + waits / LIMITS.send_bytes_per_sec
            self._write_deadline = self.loop.call_later(secs, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the deadline. A reader slower than the lowest rate loses grace, and a faster one regains it."""
        if self._write_deadline is not None:
            taken = self._unread - self.transport.get_write_buffer_size()
            late = self.loop.time() - self._paused_at - taken / LIMITS.send_bytes_per_sec
            self._patience = min(self._patience - late, LIMITS.send_timeout_secs)
        self._writing_goes_on()
        super().resume_writing()

    # --- deadlines and silent connections ---------------------------------------------------------------------

    def _wait_for_head(self) -> None:
        late = "The head of the request did not arrive in time."
        self._deadline = self.loop.call_later(LIMITS.head_secs, lambda: self._give_up(Problem("too-slow", 408, late)))
        self._is_silent = True
        _silent[self._address][self] = _everybody_silent[self] = None

    def _make_room(self) -> None:
        silent = _silent[self._address]
        if len(silent) >= LIMITS.silent_connections_per_address:
            _close_oldest(silent)

    def _speaks(self) -> None:
        if not self._is_silent:
            return
        self._is_silent = False
        _everybody_silent.pop(self, None)
        silent = _silent[self._address]
        silent.pop(self, None)
        if not silent:
            del _silent[self._address]

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._speaks()

    def _writing_goes_on(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _give_up(self, problem: Problem) -> None:
        # Without a request no one waits for an answer: the bytes are an unread body, or none came.
        if self._in_head:
            self._refuse(problem)
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer without a request, and close."""
        body = json.dumps(problem.body()).encode()
        headers = {"content-type": problems.CONTENT_TYPE, "content-length": str(len(body)), **problem.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[problem.status] + lines.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer a malformed request with a problem document, too."""
        self._refuse(Problem("invalid", 400, msg))


def _close_oldest(silent: dict[Any, None]) -> bool:
    """Close the connection that has been silent longest. Return False when there is none."""
    oldest = next(iter(silent), None)
    if oldest is None:
        return False
    oldest._stop_waiting()
    oldest.transport.close()
    return True
