"""AMQP content frames, read only as far as ingest needs them.

The client library decodes every property and header of a message as it arrives. One value that it cannot decode (a
timestamp of the year 58,000, a text that is not UTF-8, 1,500 nested arrays) ends the connection, and the broker sends
the same message again. Ingest needs the body and the message id, so this module skips everything else undecoded.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack_from
from typing import Any

from amqp import method_framing, spec

METHOD, HEADER, HEARTBEAT = 1, 2, 8
#: The offset of the consumer tag and its length, after the `HH` of class and method.
TAG_AT = 4
#: The bytes after the tag: the delivery tag (8 bytes) and the redelivery flag.
AFTER_TAG = 9
#: Offsets in a content header: body size (after class and weight), property flags, properties.
SIZE_AT, FLAGS_AT, PROPERTIES_AT = 4, 12, 14
SHORT_TEXT, TABLE = "short text", "table"
#: The properties in the order of their flags, from the highest bit: a kind, or a size in bytes.
PROPERTIES: tuple[tuple[str, str | int], ...] = (
    ("content_type", SHORT_TEXT),
    ("content_encoding", SHORT_TEXT),
    ("headers", TABLE),
    ("delivery_mode", 1),
    ("priority", 1),
    ("correlation_id", SHORT_TEXT),
    ("reply_to", SHORT_TEXT),
    ("expiration", SHORT_TEXT),
    ("message_id", SHORT_TEXT),
)
HAS_MESSAGE_ID = 0x0080
#: Set if a second word of flags follows. No property of a message needs one.
MORE_FLAGS = 0x0001

Frame = tuple[int, int, Any]


class Arrival:
    """An incoming message. Its body is kept up to `most` bytes; `size` is its full length."""

    __slots__ = ("_chunks", "_kept", "_missing", "channel", "delivery_info", "message_id", "method", "most", "size")

    def __init__(self, method: bytes, most: int) -> None:
        self.method = method
        self.most = most
        self.size = 0
        #: The sender's bytes; None if there is no id, or if the properties cannot be read.
        self.message_id: bytes | None = None
        # The library sets these two.
        self.channel: Any = None
        self.delivery_info: dict[str, Any] = {}
        self._chunks: list[Any] = []
        self._kept = 0
        self._missing = 0

    @property
    def body(self) -> bytes:
        """The kept part of the body."""
        return b"".join(self._chunks)

    @property
    def is_whole(self) -> bool:
        """True if `body` is the full body."""
        return self._kept == self.size

    @property
    def kept(self) -> int:
        """The number of bytes in `body`."""
        return self._kept

    def begin(self, header: Any) -> bool:
        """Take the content header. Return True if the message is complete with it."""
        (self.size,) = unpack_from(">Q", header, SIZE_AT)
        self._missing = self.size
        self.message_id = message_id_of(header)
        return self.size == 0

    def go_on(self, part: Any) -> bool:
        """Take a part of the body. Return True if the message is complete with it."""
        self._missing -= len(part)
        room = self.most - self._kept
        if room > 0:
            self._chunks.append(part[:room])
            self._kept += min(room, len(part))
        return self._missing <= 0


def message_id_of(header: Any) -> bytes | None:
    """Return the undecoded message id of a content header. None if there is no id, or if it cannot be found."""
    if len(header) < PROPERTIES_AT:
        return None
    (flags,) = unpack_from(">H", header, FLAGS_AT)
    if not flags & HAS_MESSAGE_ID or flags & MORE_FLAGS:
        return None
    at = PROPERTIES_AT
    for place, (name, kind) in enumerate(PROPERTIES):
        if not flags & 0x8000 >> place:
            continue
        start = at
        if kind == SHORT_TEXT:
            at += 1 + (header[at] if at < len(header) else len(header))
        elif kind == TABLE:
            at += 4 + int.from_bytes(header[at : at + 4], "big")
        else:
            at += int(kind)
        if at > len(header):
            return None
        if name == "message_id":
            return bytes(header[start + 1 : at])
    return None


def reader(most: int) -> Callable[[Any, Callable[..., Any]], Callable[[Frame], bool]]:
    """Return a frame handler for `amqp.Connection` that delivers each message as an `Arrival` of at most `most` bytes.

    The library handles every other frame.
    """

    def frame_handler(connection: Any, callback: Callable[..., Any]) -> Callable[[Frame], bool]:
        of_library = method_framing.frame_handler(connection, callback)
        arriving: dict[int, Arrival] = {}

        def on_frame(frame: Frame) -> bool:
            kind, channel, payload = frame
            if kind == METHOD and unpack_from(">HH", payload) == spec.Basic.Deliver:
                connection.bytes_recv += 1
                # Without exchange and routing key: the sender chose them, and they may not be UTF-8.
                end = TAG_AT + 1 + payload[TAG_AT] + AFTER_TAG
                arriving[channel] = Arrival(bytes(payload[:end]) + b"\0\0", most)
                return False
            if kind in (METHOD, HEARTBEAT) or channel not in arriving:
                return bool(of_library(frame))
            connection.bytes_recv += 1
            message = arriving[channel]
            if not (message.begin(payload) if kind == HEADER else message.go_on(payload)):
                return False
            del arriving[channel]
            callback(channel, spec.Basic.Deliver, message.method, message)
            return True

        return on_frame

    return frame_handler
