"""Encode and decode every frame of `docs/protocol.md`, in both directions and both dialects.

A peer decodes each text once and uses frozen structs from then on. A text can be wrong in three ways: it violates the
protocol (`ProtocolError`, the socket closes with its code), its kind is unknown (`UnknownKind`, answered with an
`error` frame and otherwise ignored), or it is well formed but not acceptable (`FrameRefused`, an `error` frame).
"""

from enum import IntEnum
from typing import Any, Final

import msgspec

from wardroom import strict
from wardroom.frames import (
    BATCH_EVENTS,
    EPHEMERAL,
    MAX_INTEGER,
    QUESTION_CHARACTERS,
    SNAPSHOT,
    ApprovalAck,
    ApprovalAnswer,
    ApprovalAnswered,
    ApprovalBody,
    ApprovalConsumed,
    ApprovalQuestion,
    ApprovalRegistered,
    ApprovalReply,
    ApprovalRequest,
    ApprovalStatus,
    ApprovalWithdraw,
    Cancel,
    ConnectionLimits,
    Error,
    Event,
    EventAck,
    EventBatch,
    EventFrame,
    Frame,
    Hello,
    Item,
    Message,
    MessageAdmitted,
    Model,
    Part,
    PlainEvent,
    PolicyChanged,
    Qos,
    Resume,
    Run,
    RunAck,
    RunLimits,
    RunSession,
    Send,
    SendAck,
    Sender,
    SettledStatus,
    Terminal,
    TerminalAck,
    TerminalStatus,
    Transcript,
    TranscriptAck,
    WaitFor,
    Welcome,
    qos_of,
)

__all__ = [
    "BATCH_EVENTS",
    "BEARER",
    "BODY_BYTES",
    "CLOSE_REASON_BYTES",
    "EPHEMERAL",
    "FINAL_CLOSES",
    "FRAME_BYTES",
    "HELLO_SECS",
    "MAX_INTEGER",
    "MAX_UNACKED_EVENTS",
    "PING_SECS",
    "PLAIN",
    "QUESTION_CHARACTERS",
    "RESULT_BYTES",
    "RUN_MESSAGES_BYTES",
    "SNAPSHOT",
    "TEXTS",
    "V1",
    "ApprovalAck",
    "ApprovalAnswer",
    "ApprovalAnswered",
    "ApprovalBody",
    "ApprovalConsumed",
    "ApprovalQuestion",
    "ApprovalRegistered",
    "ApprovalReply",
    "ApprovalRequest",
    "ApprovalStatus",
    "ApprovalWithdraw",
    "Cancel",
    "ChildFrame",
    "Close",
    "ConnectionLimits",
    "Error",
    "Event",
    "EventAck",
    "EventBatch",
    "EventFrame",
    "Frame",
    "FrameRefused",
    "Hello",
    "Item",
    "Message",
    "MessageAdmitted",
    "Model",
    "Part",
    "PlainEvent",
    "PlainFrame",
    "PolicyChanged",
    "ProtocolError",
    "Qos",
    "Resume",
    "Run",
    "RunAck",
    "RunLimits",
    "RunSession",
    "Send",
    "SendAck",
    "Sender",
    "ServerFrame",
    "SettledStatus",
    "Terminal",
    "TerminalAck",
    "TerminalStatus",
    "Transcript",
    "TranscriptAck",
    "UnknownKind",
    "WaitFor",
    "Welcome",
    "comes_back",
    "cut_reason",
    "decode_child",
    "decode_server",
    "encode",
    "qos_of",
    "refuse_oversize",
    "text_of",
]

V1: Final = "wardroom.v1"
PLAIN: Final = "wardroom.plain"
BEARER: Final = "bearer."

FRAME_BYTES: Final = 1024 * 1024
RESULT_BYTES: Final = 128 * 1024
BODY_BYTES: Final = 256 * 1024
RUN_MESSAGES_BYTES: Final = 512 * 1024
MAX_UNACKED_EVENTS: Final = 512
HELLO_SECS: Final = 10
PING_SECS: Final = 20
CLOSE_REASON_BYTES: Final = 123
# Members that may hold an object's plain text, in search order.
TEXTS: Final = ("text", "question", "answer", "task", "message", "content")


class Close(IntEnum):
    """The reason for closing a socket, one code per cause."""

    DONE = 1000
    GOING_AWAY = 1001
    LOST = 1006
    OVER_CEILING = 1009
    PING_TIMEOUT = 1011
    RESTARTING = 1012
    TRY_AGAIN = 1013
    NOT_PROTOCOL = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    NO_SESSION = 4404
    NO_HELLO = 4408
    REPLACED = 4409
    ATTEMPT_OVER = 4410
    TOO_LARGE = 4413
    TOO_MANY = 4429


FINAL_CLOSES: Final = frozenset(
    {
        Close.DONE,
        Close.OVER_CEILING,
        Close.NOT_PROTOCOL,
        Close.UNAUTHENTICATED,
        Close.FORBIDDEN,
        Close.NO_SESSION,
        Close.REPLACED,
        Close.ATTEMPT_OVER,
        Close.TOO_LARGE,
    }
)


class ProtocolError(Exception):
    """The peer violated the protocol: close the socket with `close_code` and `reason`."""

    def __init__(self, close_code: Close, reason: str) -> None:
        super().__init__(f"{int(close_code)} {reason}")
        self.close_code = close_code
        self.reason = reason


class UnknownKind(Exception):
    """A frame of a newer peer, or of the other direction: answer `error`, keep the connection."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"unknown kind {kind[:64]!r}")
        self.kind = kind


class FrameRefused(Exception):
    """A well-formed frame that is not acceptable.

    Answer `error` with `code`, `detail` and `ref`, and keep the connection.
    """

    def __init__(self, code: str, detail: str, ref: str | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.ref = ref


ChildFrame = (
    Hello
    | RunAck
    | EventFrame
    | EventBatch
    | ApprovalRequest
    | ApprovalAck
    | ApprovalWithdraw
    | ApprovalAnswer
    | MessageAdmitted
    | Send
    | Transcript
    | Terminal
)
PlainFrame = PlainEvent | ApprovalRequest | Terminal
ServerFrame = (
    Welcome
    | Run
    | Message
    | ApprovalRegistered
    | ApprovalReply
    | ApprovalConsumed
    | ApprovalQuestion
    | ApprovalAnswered
    | EventAck
    | SendAck
    | TranscriptAck
    | TerminalAck
    | Cancel
    | PolicyChanged
    | Error
)


def _by_kind(*frames: type[Frame]) -> dict[str, type[Frame]]:
    return {str(frame.__struct_config__.tag): frame for frame in frames}


_CHILD = _by_kind(
    Hello,
    RunAck,
    EventFrame,
    EventBatch,
    ApprovalRequest,
    ApprovalAck,
    ApprovalWithdraw,
    ApprovalAnswer,
    MessageAdmitted,
    Send,
    Transcript,
    Terminal,
)
_PLAIN = _by_kind(PlainEvent, ApprovalRequest, Terminal)
_SERVER = _by_kind(
    Welcome,
    Run,
    Message,
    ApprovalRegistered,
    ApprovalReply,
    ApprovalConsumed,
    ApprovalQuestion,
    ApprovalAnswered,
    EventAck,
    SendAck,
    TranscriptAck,
    TerminalAck,
    Cancel,
    PolicyChanged,
    Error,
)


def decode_child(text: str | bytes, *, plain: bool = False, max_bytes: int = FRAME_BYTES) -> Frame:
    """Return the frame of a child: one of `ChildFrame` (of `PlainFrame` when `plain`).

    Raises ProtocolError (4413 when longer than `max_bytes`, else 4400) or UnknownKind.
    """
    return _decode(text, _PLAIN if plain else _CHILD, max_bytes)


def decode_server(text: str | bytes, *, max_bytes: int | None = None) -> Frame:
    """Return the frame of a server: one of `ServerFrame`. Raises ProtocolError or UnknownKind."""
    return _decode(text, _SERVER, max_bytes)


def encode(frame: Frame) -> str:
    """Return the text of a frame. Members that are None are left out (null equals absent)."""
    return msgspec.json.encode(frame).decode()


def refuse_oversize(frame: Frame) -> None:
    """Raise FrameRefused for a valid frame with more data than may be stored."""
    match frame:
        case Terminal(result=result) if _size(result) > RESULT_BYTES:
            raise FrameRefused("result_too_large", f"a result has at most {RESULT_BYTES} bytes", "terminal")
        case Terminal(error=str(error)) if _size(error) > RESULT_BYTES:
            raise FrameRefused("error_too_large", f"an error has at most {RESULT_BYTES} bytes", "terminal")
        case Send(id=ref, body=body) if _size(body) > BODY_BYTES:
            raise FrameRefused("body_too_large", f"a body has at most {BODY_BYTES} bytes", ref)


def text_of(value: Any) -> str | None:
    """Return the plain text of a body or a result: a string, an object's own text, or else its compact JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        found = next((value[name] for name in TEXTS if isinstance(value.get(name), str)), None)
        if found is not None:
            return str(found)
    return msgspec.json.encode(value).decode()


def cut_reason(reason: str) -> str:
    """Cut a close reason to the size of a control frame, at a character's edge."""
    return reason.encode()[:CLOSE_REASON_BYTES].decode(errors="ignore")


def comes_back(code: int) -> bool:
    """Return True when a child should reconnect after a close with `code`."""
    return code not in FINAL_CLOSES


def _decode(text: str | bytes, kinds: dict[str, type[Frame]], max_bytes: int | None) -> Frame:
    if max_bytes is not None and len(text) > max_bytes:
        raise ProtocolError(Close.TOO_LARGE, f"a frame has at most {max_bytes} bytes")
    try:
        value = strict.loads(text, max_bytes=max_bytes)
    except strict.TooLarge as error:
        raise ProtocolError(Close.TOO_LARGE, error.reason) from None
    except strict.StrictJSONError as error:
        raise ProtocolError(Close.NOT_PROTOCOL, str(error)) from None
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str):
        raise ProtocolError(Close.NOT_PROTOCOL, "a frame is an object with a kind")
    if kind not in kinds:
        raise UnknownKind(kind)
    present = {name: member for name, member in value.items() if member is not None}
    try:
        return msgspec.convert(present, kinds[kind])
    except msgspec.ValidationError as error:
        raise ProtocolError(Close.NOT_PROTOCOL, f"{kind}: {error}") from None


def _size(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else len(msgspec.json.encode(value))
