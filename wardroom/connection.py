"""A child's connection: one WebSocket after another, until the server ends it for good."""

import asyncio
import logging
import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from wardroom import protocol
from wardroom.event_buffer import take_run
from wardroom.identity import Identity
from wardroom.protocol import Close, EventBatch, EventFrame, Frame, Hello, ProtocolError, UnknownKind, Welcome

log = logging.getLogger("wardroom.connection")

LARGEST_ANSWER = 4 * 1024 * 1024
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0
# One machine has no herd of reconnecting children, and often a person waits.
LONGEST_LOCAL_PAUSE = 3.0
BEHIND = 64
IN_FLIGHT = 16
WELCOME_SECS = 30.0
# The reason of these codes contains the seconds to wait.
ASKS_FOR_PATIENCE = frozenset({Close.TOO_MANY, Close.TRY_AGAIN, Close.PING_TIMEOUT})
# A connection that the server's fault ended within this time counts as failed.
STEADY_SECS = 30.0


@dataclass(frozen=True, slots=True)
class End:
    """The reason why there will be no further connection."""

    code: int
    reason: str


def pause_before(code: int, reason: str, failures: int, random: random.Random, longest: float = LONGEST_PAUSE) -> float:
    """Return the seconds to wait before reconnecting after a close with `code`. Jitter spreads a herd."""
    if code == Close.RESTARTING:
        return random.uniform(FIRST_PAUSE, LONGEST_PAUSE)
    backed_off = random.uniform(FIRST_PAUSE / 2, min(longest, FIRST_PAUSE * 2 ** min(failures, 10)))
    if code in ASKS_FOR_PATIENCE and (seconds := re.search(r"\d+(\.\d+)?", reason)):
        return max(min(float(seconds[0]), 3600.0) + random.uniform(0, FIRST_PAUSE), backed_off)
    return backed_off


def refused_handshake(status: int, url: str) -> str:
    """Return the meaning of an HTTP answer in place of a WebSocket, with its cure."""
    if status in (200, 301, 302, 307, 308, 400, 404, 405, 426, 501):
        cure = "a proxy before it must pass on the headers Upgrade and Connection (nginx: proxy_http_version 1.1)"
    elif status in (401, 403, 407):
        cure = "a proxy before it requires its own login"
    else:
        cure = "Wardroom, or a proxy before it, cannot answer now"
    return f"HTTP {status} instead of a WebSocket at {url}: {cure}"


class Connection:
    """Connects, says hello, delivers received frames, sends queued ones, and reconnects when it should."""

    def __init__(
        self,
        identity: Identity,
        hello: Callable[[], Hello],
        opened: Callable[[Welcome], Iterable[Frame]],
        arrived: Callable[[Frame], None],
        lost: Callable[[], None],
        unreachable_secs: float,
    ) -> None:
        self._identity = identity
        self._hello = hello
        self._opened = opened
        self._arrived = arrived
        self._lost = lost
        self._unreachable_secs = unreachable_secs
        self.socket: ClientConnection | None = None
        self._outgoing: asyncio.Queue[Frame] | None = None
        self._in_flight: deque[tuple[int, int]] = deque()
        self._acked = asyncio.Event()
        self._reached = time.monotonic()
        self._random = random.Random()  # noqa: S311 - only spreads reconnects

    @property
    def online(self) -> bool:
        """True between a welcome and the close."""
        return self._outgoing is not None

    @property
    def behind(self) -> bool:
        """True when more frames are queued than the connection carries."""
        return self._outgoing is not None and self._outgoing.qsize() > BEHIND

    def send(self, *frames: Frame) -> None:
        """Queue frames on the open connection. Without one they are dropped; callers keep frames that must arrive."""
        if self._outgoing is not None:
            for frame in frames:
                self._outgoing.put_nowait(frame)

    async def run(self) -> End:
        """Connect and converse again and again, until there will be no further connection."""
        failures = 0
        while True:
            before, began = self._reached, time.monotonic()
            try:
                async with connect(
                    self._identity.websocket_url,
                    additional_headers={"Authorization": f"Bearer {self._identity.token}"},
                    subprotocols=[Subprotocol(protocol.V1)],
                    proxy=None if self._identity.is_local else True,
                    compression=None,
                    max_size=LARGEST_ANSWER,
                    close_timeout=2,
                ) as self.socket:
                    code, reason = await self._converse(self.socket)
            except InvalidStatus as error:
                code, reason = Close.LOST, refused_handshake(error.response.status_code, self._identity.websocket_url)
                log.warning("%s", reason)
            except (OSError, TimeoutError, WebSocketException) as error:
                code, reason = Close.LOST, f"{type(error).__name__}: {error}"
            if not protocol.comes_back(code):
                return End(code, reason)
            silent = time.monotonic() - self._reached
            if silent >= self._unreachable_secs:
                return End(Close.LOST, f"Wardroom was unreachable for {silent:.0f} seconds; the last try: {reason}")
            steady = code not in ASKS_FOR_PATIENCE or time.monotonic() - began > STEADY_SECS
            failures = 0 if self._reached > before and steady else failures + 1
            longest = LONGEST_LOCAL_PAUSE if self._identity.is_local else LONGEST_PAUSE
            pause = pause_before(code, reason, failures, self._random, longest)
            log.info("connection closed (%s %s), next try in %.1f s", code, reason, pause)
            await asyncio.sleep(min(pause, self._unreachable_secs))

    async def _converse(self, socket: ClientConnection) -> tuple[int, str]:
        writer: asyncio.Task[None] | None = None
        try:
            await socket.send(protocol.encode(self._hello()))
            text = await asyncio.wait_for(socket.recv(), WELCOME_SECS)
            while True:
                self._reached = time.monotonic()
                try:
                    frame = protocol.decode_server(text)
                except (ProtocolError, UnknownKind) as error:
                    log.warning("ignored a frame of the server: %s", error)
                    frame = None
                if isinstance(frame, Welcome) and writer is None:
                    self._outgoing = asyncio.Queue()
                    self._in_flight.clear()
                    self.send(*self._opened(frame))
                    writer = asyncio.create_task(self._write(socket, self._outgoing))
                elif frame is not None:
                    self._arrived(frame)
                text = await socket.recv()
        except ConnectionClosed:
            pass
        finally:
            self._outgoing = None
            if writer is not None:
                writer.cancel()
                self._reached = time.monotonic()
                self._lost()
        return socket.close_code or Close.LOST, socket.close_reason or ""

    async def _write(self, socket: ClientConnection, outgoing: "asyncio.Queue[Frame]") -> None:
        """Write in order. While many events are unacknowledged, further ones collect into batches."""
        queue: deque[Frame] = deque()
        try:
            while True:
                if not queue:
                    queue.append(await outgoing.get())
                while not outgoing.empty():
                    queue.append(outgoing.get_nowait())
                if isinstance(queue[0], EventFrame) and len(self._in_flight) >= IN_FLIGHT:
                    self._acked.clear()
                    await self._acked.wait()
                    continue
                frame = take_run(queue)
                if isinstance(frame, EventFrame):
                    self._in_flight.append((frame.seq, frame.seq))
                elif isinstance(frame, EventBatch) and frame.qos == "durable":
                    self._in_flight.append((frame.first_seq, frame.last_seq))
                await socket.send(protocol.encode(frame))
        except ConnectionClosed:  # The reader sees it too, and knows the code.
            return

    def acknowledged(self, seq: int) -> None:
        """Free the places of events up to `seq`, which are committed."""
        while self._in_flight and self._in_flight[0][1] <= seq:
            self._in_flight.popleft()
        self._acked.set()

    def refused(self) -> tuple[int, int]:
        """Return the events that the server just refused. It handles them in order, so they are the oldest."""
        self._acked.set()
        return self._in_flight.popleft() if self._in_flight else (0, 0)
