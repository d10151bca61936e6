"""One HTTP connection to a receiver: POST, and read no more of the answer than needed.

No redirect is followed, and no proxy of the environment is used. Everything has a deadline and a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

import h11

from ledger.webhooks import addresses
from ledger.webhooks.addresses import Target

MOST_HEAD, MOST_BODY, MOST_INTERIM = 16 * 1024, 64 * 1024, 8
READ_BYTES = 16 * 1024
AGENT = "Wardroom-Webhooks"


@dataclass(slots=True)
class Answer:
    """The answer, as far as it has come. `can_go_on`: another POST may use the connection.

    `body` is complete only if `is_whole`: a longer one than `MOST_BODY` is left unread.
    """

    status: int | None = None
    retry_after: int = 0
    can_go_on: bool = False
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False


class Exchange:
    """A connection to a checked address of a receiver. TLS checks the certificate by the receiver's name."""

    def __init__(self, target: Target, *, private: bool) -> None:
        self._target = target
        self._private = private
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEAD)

    @property
    def is_open(self) -> bool:
        """True while a connection can take another POST."""
        return self._streams is not None

    async def open(self) -> None:
        """Connect. Raises Refused, and OSError with the reason of the last address."""
        trouble: OSError = OSError("the name has no address")
        context = ssl.create_default_context() if self._target.is_secure else None
        name = self._target.host if self._target.is_secure else None
        for address in await addresses.resolve(self._target, private=self._private):
            try:
                self._streams = await asyncio.open_connection(
                    address, self._target.port, ssl=context, server_hostname=name, limit=READ_BYTES
                )
                self._machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEAD)
                return
            except OSError as error:
                trouble = error
        raise trouble

    async def post(self, headers: Sequence[tuple[str, str]], body: bytes, answer: Answer) -> None:
        """Send one POST, and fill `answer` while it comes. Raises OSError, and h11.RemoteProtocolError."""
        assert self._streams is not None  # noqa: S101 - for the types: it is open
        reader, writer = self._streams
        head = [
            ("Host", self._target.authority),
            ("User-Agent", AGENT),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            *headers,
        ]
        request = h11.Request(method="POST", target=self._target.path, headers=head)
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(self._machine.send(event) or b"")
        await writer.drain()
        interim = 0
        while True:
            match self._machine.next_event():
                case h11.NEED_DATA:
                    self._machine.receive_data(await reader.read(READ_BYTES))
                case h11.InformationalResponse():
                    interim += 1
                    if interim > MOST_INTERIM:
                        raise h11.RemoteProtocolError("too many interim answers")
                case h11.Response() as response:
                    answer.status = response.status_code
                    answer.retry_after = _retry_after(response)
                case h11.Data() as data:
                    answer.body += data.data
                    if len(answer.body) > MOST_BODY:
                        return
                case h11.EndOfMessage():
                    answer.is_whole = True
                    answer.can_go_on = (self._machine.our_state, self._machine.their_state) == (h11.DONE, h11.DONE)
                    return
                case _:
                    raise h11.RemoteProtocolError("the connection ended before the answer")

    def next(self) -> None:
        """Make the connection ready for the next POST."""
        self._machine.start_next_cycle()

    def close(self) -> None:
        """Close the connection at once."""
        if self._streams is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._streams[1].transport.abort()
        self._streams = None


def _retry_after(response: h11.Response) -> int:
    for name, value in response.headers:
        if name == b"retry-after" and value.isdigit() and len(value) < 6:
            return int(value)
    return 0
