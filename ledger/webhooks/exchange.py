"""One HTTP connection to a receiver: POST, and read no more of the answer than needed.

No redirect is followed, and no proxy of the environment is used. Everything has a deadline and a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import h11

from ledger.webhooks import addresses
from ledger.webhooks.addresses import Target

MOST_HEAD, MOST_BODY, MOST_INTERIM = 16 * 1024, 64 * 1024, 8
READ_BYTES = 16 * 1024
AGENT = "Wardroom-Webhooks"
WITHOUT_BODY = frozenset({204, 304})
_MEDIA_TYPE = re.compile(rb"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60}(?![^;\s])")


@dataclass(slots=True)
class Answer:
    """The answer, as far as it has come. `can_go_on`: another POST may use the connection.

    `body` is complete only if `is_whole`: a longer one than `MOST_BODY` is left unread, and so is one that does not say
    where it ends. The end of a connection is no end of a body: it may have been cut, with TLS too.
    """

    status: int | None = None
    retry_after: int = 0
    media_type: str = ""
    says_its_end: bool = False
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

    async def post(
        self, headers: Sequence[tuple[str, str]], body: bytes, answer: Answer, *, body_secs: float | None = None
    ) -> None:
        """Send one POST, and fill `answer` while it comes. Its body has `body_secs` after its head.

        Raises OSError, and h11.RemoteProtocolError.
        """
        assert self._streams is not None  # noqa: S101 - for the types: it is open
        _, writer = self._streams
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
        await self._read_head(answer)
        if not answer.says_its_end:
            return
        try:
            async with asyncio.timeout(body_secs) as bound:
                await self._read_body(answer)
        except TimeoutError:
            if not bound.expired():
                raise

    async def _read_head(self, answer: Answer) -> None:
        interim = 0
        while True:
            match await self._event():
                case h11.InformationalResponse():
                    interim += 1
                    if interim > MOST_INTERIM:
                        raise h11.RemoteProtocolError("too many interim answers")
                case h11.Response() as response:
                    headers = dict(response.headers)
                    after = headers.get(b"retry-after", b"")
                    answer.retry_after = int(after) if after.isdigit() and len(after) < 6 else 0
                    found = _MEDIA_TYPE.match(headers.get(b"content-type", b"").lower())
                    answer.media_type = found[0].decode() if found else ""
                    named = {b"content-length", b"transfer-encoding"} & headers.keys()
                    answer.says_its_end = bool(named) or response.status_code in WITHOUT_BODY
                    answer.status = response.status_code
                    return
                case _:
                    raise h11.RemoteProtocolError("the connection ended before the answer")

    async def _read_body(self, answer: Answer) -> None:
        while len(answer.body) <= MOST_BODY:
            match await self._event():
                case h11.Data() as data:
                    answer.body += data.data
                case h11.EndOfMessage():
                    answer.is_whole = True
                    answer.can_go_on = (self._machine.our_state, self._machine.their_state) == (h11.DONE, h11.DONE)
                    return
                case _:
                    raise h11.RemoteProtocolError("the connection ended before the answer")

    async def _event(self) -> Any:
        """Return the next part of the answer. Raises h11.RemoteProtocolError, without a byte of the receiver in it."""
        assert self._streams is not None  # noqa: S101 - for the types: it is open
        try:
            while (event := self._machine.next_event()) is h11.NEED_DATA:
                self._machine.receive_data(await self._streams[0].read(READ_BYTES))
        except h11.RemoteProtocolError:
            # The words of h11 quote the answer, which may be that of another service inside.
            raise h11.RemoteProtocolError("the answer cannot be read") from None
        return event

    def next(self) -> None:
        """Make the connection ready for the next POST."""
        self._machine.start_next_cycle()

    def close(self) -> None:
        """Close the connection at once."""
        if self._streams is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._streams[1].transport.abort()
        self._streams = None
