"""Frames: their fields, the errors that close the socket, and the errors that are only answered."""

import contextlib
import json
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardroom import frames, protocol
from wardroom.protocol import Close, ProtocolError, UnknownKind

BODY = {"tool_name": "shell", "permission": "shell:run", "resource": "/srv"}
CHILD = {
    "hello": {"attempt": 1, "client": "t/1", "need_run": True},
    "run_ack": {},
    "event": {"seq": 1, "event": {"type": "x", "n": [1, None]}},
    "event_batch": {"first_seq": 2, "last_seq": 3, "qos": "ephemeral", "events": [{"type": "token"}] * 2},
    "approval_request": {"id": "r1", "body": {**BODY, "arguments": {"a": None}, "expires_in_secs": 5}},
    "approval_ack": {"id": "r1", "state": "consumed", "digest": "d", "claim": "c"},
    "approval_withdraw": {"id": "r1", "reason": "no longer"},
    "approval_answer": {"id": "q1", "answer": "yes"},
    "message_admitted": {"ids": ["m1"]},
    "send": {"id": "s1", "to": "session:x", "message_kind": "reply", "body": {"text": "hi"}},
    "transcript": {"first": 0, "items": [{"role": "user", "content": "hi"}]},
    "terminal": {"status": "suspended", "wait_for": "any", "children": ["c"], "timeout_secs": 5},
}
SERVER = {
    "welcome": {
        "session_id": "s",
        "attempt": 1,
        "acked_event_seq": 0,
        "limits": {"max_frame_bytes": 1048576, "max_unacked_events": 512},
        "ping_secs": 20,
        "server_time": "2026-01-01T00:00:00Z",
    },
    "run": {
        "assignment": "a",
        "attempt": 1,
        "session": {"session_id": "s", "root_session_id": "s", "depth": 0},
        "disabled_tools": [],
        "messages": [],
        "secrets": {"key": "hidden"},
    },
    "message": {
        "id": "m",
        "from": {"role": "staff"},
        "message_kind": "task",
        "body": "b",
        "text": "b",
        "created_at": "2026-01-01T00:00:00Z",
    },
    "approval_registered": {"id": "r", "approval_id": "a", "status": "pending", "digest": "d"},
    "approval_reply": {
        "id": "r",
        "approval_id": "a",
        "approved": True,
        "decision": "approved",
        "arguments": {"n": None},
        "digest": "d",
        "version": 1,
    },
    "approval_consumed": {"id": "r"},
    "approval_question": {"id": "q1", "request": "r", "approval_id": "a", "question": "why?"},
    "approval_answered": {"id": "q1"},
    "event_ack": {"seq": 3},
    "send_ack": {"id": "s1", "outcome": "queued"},
    "transcript_ack": {"next": 3},
    "terminal_ack": {"status": "completed"},
    "cancel": {"reason": "asked", "grace_secs": 20},
    "policy_changed": {"version": 2},
    "error": {"code": "conflict", "detail": "d", "ref": "r"},
}


def text(kind: str, fields: dict[str, Any]) -> str:
    return json.dumps({"kind": kind, **fields})


@pytest.mark.parametrize("kind", CHILD)
def test_a_childs_frame_survives_the_wire(kind: str) -> None:
    frame = protocol.decode_child(text(kind, CHILD[kind]))
    assert json.loads(protocol.encode(frame)) == {"kind": kind, **CHILD[kind]}


@pytest.mark.parametrize("kind", SERVER)
def test_a_servers_frame_survives_the_wire(kind: str) -> None:
    frame = protocol.decode_server(text(kind, SERVER[kind]))
    assert json.loads(protocol.encode(frame)) == {"kind": kind, **SERVER[kind]}


def test_the_tables_above_name_every_frame() -> None:
    assert set(CHILD) == set(protocol._CHILD)
    assert set(SERVER) == set(protocol._SERVER)


@pytest.mark.parametrize(("kinds", "decode"), [(CHILD, "decode_child"), (SERVER, "decode_server")])
def test_null_equals_absent_and_unknown_fields_are_ignored(kinds: dict[str, Any], decode: str) -> None:
    for kind, fields in kinds.items():
        frame = getattr(protocol, decode)(text(kind, fields))
        optional = {f.name for f in msgspec.structs.fields(type(frame)) if not f.required} - set(fields)
        noisy = {**fields, **dict.fromkeys(optional), "brand_new": {"x": 1}}
        assert getattr(protocol, decode)(text(kind, noisy)) == frame


WRONG = [
    ("hello", {}),
    ("hello", {"attempt": None}),
    ("hello", {"attempt": "three"}),
    ("hello", {"attempt": True}),
    ("hello", {"attempt": 1.0}),
    ("hello", {"attempt": 0}),
    ("hello", {"attempt": 2**31}),
    ("hello", {"attempt": 1, "need_run": 1}),
    ("event", {"seq": 0, "event": {"type": "x"}}),
    ("event", {"seq": True, "event": {"type": "x"}}),
    ("event", {"seq": 2**53, "event": {"type": "x"}}),
    ("event", {"seq": 1, "event": {}}),
    ("event", {"seq": 1, "event": {"type": 5}}),
    ("event", {"seq": 1, "event": {"type": ""}}),
    ("event", {"seq": 1, "event": []}),
    ("event_batch", {"first_seq": 1, "last_seq": 0, "qos": "durable", "events": []}),
    ("event_batch", {"first_seq": 1, "last_seq": 3, "qos": "durable", "events": [{"type": "x"}] * 2}),
    ("event_batch", {"first_seq": 1, "last_seq": 1, "qos": "ephemeral", "events": [{"type": "x"}]}),
    ("event_batch", {"first_seq": 1, "last_seq": 1, "qos": "durable", "events": [{"type": "token"}]}),
    ("event_batch", {"first_seq": 1, "last_seq": 1, "qos": "loud", "events": [{"type": "x"}]}),
    ("event_batch", {"first_seq": 1, "last_seq": 65, "qos": "durable", "events": [{"type": "x"}] * 65}),
    ("approval_request", {"id": "", "body": BODY}),
    ("approval_request", {"id": "x" * 257, "body": BODY}),
    ("approval_request", {"id": "r", "body": {**BODY, "arguments": [1]}}),
    ("approval_request", {"id": "r", "body": {**BODY, "expires_in_secs": 0}}),
    ("approval_request", {"id": "r", "body": {"tool_name": "shell"}}),
    ("approval_ack", {"id": "r", "state": "approved"}),
    ("message_admitted", {"ids": [5]}),
    ("message_admitted", {"ids": []}),
    ("send", {"id": "s"}),
    ("transcript", {"first": -1, "items": []}),
    ("transcript", {"first": 0, "items": [{"content": "x"}]}),
    ("terminal", {"status": "timeout"}),
    ("terminal", {"status": "completed", "error": {"a": 1}}),
]


@pytest.mark.parametrize(("kind", "fields"), WRONG)
def test_a_wrong_field_closes_with_4400(kind: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as refusal:
        protocol.decode_child(text(kind, fields))
    assert refusal.value.close_code == Close.NOT_PROTOCOL


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "hello",
        "[]",
        "1",
        "null",
        '"hello"',
        "{}",
        '{"kind": 5}',
        '{"kind": ["hello"]}',
        '{"kind": null}',
        '{"kind": "run_ack", "kind": "hello"}',
        '{"kind": "run_ack", "x": NaN}',
        '{"kind": "run_ack", "x": "\\u0000"}',
        '{"kind": "run_ack", "x": ' + "[" * 65 + "]" * 65 + "}",
        '{"kind": "run_ack", "x": "\\udc00"}',
    ],
)
def test_what_is_not_a_frame_closes_with_4400(raw: str) -> None:
    with pytest.raises(ProtocolError) as refusal:
        protocol.decode_child(raw)
    assert refusal.value.close_code == Close.NOT_PROTOCOL


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(kind=st.sampled_from([*CHILD, *SERVER]), data=st.data())
def test_whatever_the_fields_hold_there_is_a_frame_or_a_refusal(kind: str, data: st.DataObject) -> None:
    known = cast(dict[str, Any], {**CHILD, **SERVER}[kind])
    fields = {name: data.draw(JSON | st.just(value)) for name, value in known.items()}
    for decode in (protocol.decode_child, protocol.decode_server):
        with contextlib.suppress(ProtocolError, UnknownKind):
            frame = decode(text(kind, fields))
            assert decode(protocol.encode(frame)) == frame
            with contextlib.suppress(protocol.FrameRefused):
                protocol.refuse_oversize(frame)


def test_a_frame_over_the_limit_closes_with_4413() -> None:
    with pytest.raises(ProtocolError) as refusal:
        protocol.decode_child(text("run_ack", {"pad": "é" * 20}), max_bytes=50)
    assert refusal.value.close_code == Close.TOO_LARGE


@pytest.mark.parametrize("kind", ["welcome", "brand_new", "", "Hello"])
def test_an_unknown_kind_is_not_an_error_of_the_protocol(kind: str) -> None:
    with pytest.raises(UnknownKind) as unknown:
        protocol.decode_child(text(kind, {}))
    assert unknown.value.kind == kind


def test_a_plain_child_has_three_frames_and_counts_nothing() -> None:
    event = protocol.decode_child('{"kind": "event", "event": {"type": "x"}}', plain=True)
    assert event == frames.PlainEvent(event={"type": "x"})
    assert isinstance(protocol.decode_child(text("terminal", {"status": "completed"}), plain=True), frames.Terminal)
    with pytest.raises(UnknownKind):
        protocol.decode_child('{"kind": "hello", "attempt": 1}', plain=True)


def test_a_reply_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ProtocolError, match="disagree"):
        protocol.decode_server(text("approval_reply", {**SERVER["approval_reply"], "decision": "denied"}))


def test_secrets_are_not_in_the_repr_of_a_run() -> None:
    assert "hidden" not in repr(protocol.decode_server(text("run", SERVER["run"])))


@pytest.mark.parametrize(
    ("kind", "qos"),
    [
        ("token", "ephemeral"),
        ("token_budget_updated", "snapshot"),
        ("tool_started", "durable"),
        ("never heard", "durable"),
    ],
)
def test_an_unknown_event_is_durable(kind: str, qos: str) -> None:
    assert protocol.qos_of(kind) == qos


def test_a_result_of_128_kib_passes_and_one_more_byte_is_refused() -> None:
    protocol.refuse_oversize(frames.Terminal(status="completed", result="x" * protocol.RESULT_BYTES))
    with pytest.raises(protocol.FrameRefused, match="result_too_large"):
        protocol.refuse_oversize(frames.Terminal(status="completed", result="x" * (protocol.RESULT_BYTES + 1)))


def test_a_body_of_256_kib_passes_and_one_more_byte_is_refused() -> None:
    protocol.refuse_oversize(frames.Send(id="s", message_kind="task", body="x" * protocol.BODY_BYTES))
    with pytest.raises(protocol.FrameRefused) as refusal:
        protocol.refuse_oversize(frames.Send(id="s", message_kind="task", body=["x" * protocol.BODY_BYTES]))
    assert refusal.value.ref == "s"


def test_a_close_reason_fits_its_frame() -> None:
    assert protocol.cut_reason("é" * 100) == "é" * 61
    assert protocol.cut_reason("short") == "short"


@pytest.mark.parametrize(
    ("code", "back"),
    [
        (1000, False),
        (1001, True),
        (1006, True),
        (1009, False),
        (1011, True),
        (1012, True),
        (1013, True),
        (4400, False),
        (4401, False),
        (4403, False),
        (4404, False),
        (4408, True),
        (4409, False),
        (4410, False),
        (4413, False),
        (4429, True),
        (4999, True),
        (3000, True),
    ],
)
def test_the_close_code_says_whether_to_come_back(code: int, back: bool) -> None:
    assert protocol.comes_back(code) is back


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        ("hi", "hi"),
        ({"text": "hi", "x": 1}, "hi"),
        ({"question": "why?"}, "why?"),
        ({"a": [1]}, '{"a":[1]}'),
        (None, None),
        (5, "5"),
    ],
)
def test_the_plain_text_of_a_body(body: Any, plain: str | None) -> None:
    assert protocol.text_of(body) == plain
