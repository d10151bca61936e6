"""Any frame that passes decoding is answered or refused: no value closes a connection, or breaks a reader later."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import projects
from ledger import feed
from orchestration.connections.consumer import ChildConsumer
from orchestration.models import Session
from orchestration.sessions import history
from tests.orchestration.connections.conftest import Spawn
from tests.threads import operations_have_ended
from wardroom import protocol
from wardroom.frames import BATCH_EVENTS, EPHEMERAL, SNAPSHOT, qos_of

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
ODD = st.sampled_from(
    ["", "\u2028", "\u202e", "\U0001f600" * 64, "x" * 4000, "%s %(a)s {}", "'; --", "\x1b[2J", "wardroom:x", "session:"]
)
WORD = TEXT | ODD
NUMBER = (
    st.integers(-(2**70), 2**70)
    | st.sampled_from([2**31, 2**53, 2**63, 2**64, 10**300, -0.0, 1e308, 5e-324, 1e16])
    | st.floats(allow_nan=False, allow_infinity=False)
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | WORD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORD, inner, max_size=4),
    max_leaves=12,
)
OBJECT = st.dictionaries(WORD | st.sampled_from(["mode", "answer", "text", "question", "command"]), JSON, max_size=4)
NAME = WORD.filter(lambda text: 1 <= len(text) <= 256)
ID = st.sampled_from(["a", "b", "c"]) | NAME
SECS = st.integers(1, 2**31 - 1)
ITEM = st.fixed_dictionaries({"role": NAME}, optional={"content": JSON, "id": ID})
TYPES = st.sampled_from(
    sorted(EPHEMERAL | SNAPSHOT) + ["round_started", "tool_started", "tool_finished", "unknown_outcome"] * 3
) | WORD.filter(lambda text: 1 <= len(text) <= 200)
EVENT = st.builds(
    lambda type, members, read: {**members, **read, "type": type},
    TYPES,
    OBJECT,
    st.fixed_dictionaries({}, optional={"round": JSON, "tool_name": JSON, "approval": JSON | ID, "detail": JSON}),
)
SEQ = st.integers(1, 12) | st.sampled_from([2**31, 2**53 - 1])


def batch(first: int, events: list[dict[str, Any]]) -> dict[str, Any]:
    qos = qos_of(events[0]["type"])
    same = [event for event in events if qos_of(event["type"]) == qos][:BATCH_EVENTS]
    first = min(first, 2**53 - 1 - len(same))
    return {"kind": "event_batch", "first_seq": first, "last_seq": first + len(same) - 1, "qos": qos, "events": same}


def frame(kind: str, required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"kind": st.just(kind), **required}, optional=optional)


BODY = st.fixed_dictionaries(
    {"tool_name": NAME, "permission": NAME, "resource": WORD},
    optional={
        "question": WORD,
        "arguments": OBJECT,
        "tool_call_id": ID,
        "tool_schema_version": NAME,
        "risk": st.sampled_from(["low", "medium", "high", "critical"]) | NAME,
        "expires_in_secs": SECS,
        "allowed_decisions": st.lists(
            st.sampled_from(["approve", "deny", "edit", "respond"]) | NAME, min_size=1, max_size=4
        ),
    },
)
FRAMES = st.one_of(
    frame("run_ack", {}),
    frame("event", {"seq": SEQ, "event": EVENT}),
    st.builds(batch, SEQ, st.lists(EVENT, min_size=1, max_size=5)),
    frame("approval_request", {"id": ID, "body": BODY}),
    frame("approval_ack", {"id": ID, "state": st.sampled_from(["received", "consumed"])}, digest=ID, claim=ID),
    frame("approval_withdraw", {"id": ID}, reason=WORD.filter(lambda text: len(text) <= 2048)),
    frame("approval_answer", {"id": ID, "answer": WORD.filter(lambda text: 1 <= len(text) <= 16_384)}),
    frame("message_admitted", {"ids": st.lists(ID, min_size=1, max_size=5)}),
    frame(
        "send",
        {"id": ID, "message_kind": st.sampled_from(["task", "ask", "reply"]) | NAME, "body": JSON},
        to=ID | st.just("me"),
        correlation_id=ID,
    ),
    frame("transcript", {"first": st.integers(0, 3) | st.just(2**53 - 1), "items": st.lists(ITEM, max_size=4)}),
    frame("hello", {"attempt": st.integers(1, 2**31 - 1)}, client=WORD),
)
TERMINAL = frame(
    "terminal",
    {"status": st.sampled_from(["completed", "error", "cancelled", "suspended"])},
    result=JSON,
    error=WORD,
    transcript=st.lists(ITEM, max_size=3),
    wait_for=st.sampled_from(["all", "any", "first_error"]),
    children=st.lists(ID, max_size=3),
    timeout_secs=SECS,
)


def passes(frame: dict[str, Any]) -> bool:
    """Return True if the frame is valid."""
    try:
        protocol.decode_child(json.dumps(frame))
    except protocol.ProtocolError:
        return False
    return True


async def talk(child: Spawn, frames: list[dict[str, Any]], dialect: str) -> tuple[int | None, int]:
    """Say the frames to a consumer; the code that it closed with before it answered a last one, and the refusals."""
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope = {
        "type": "websocket",
        "subprotocols": [dialect],
        "headers": [(b"authorization", f"Bearer {child.token}".encode())],
        "url_route": {"kwargs": {"session_id": str(child.id)}},
    }
    incoming.put_nowait({"type": "websocket.connect"})
    hello = [] if dialect == protocol.PLAIN else [{"kind": "hello", "attempt": 1}]
    for said in [*hello, *frames, {"kind": "the last one"}]:
        incoming.put_nowait({"type": "websocket.receive", "text": json.dumps(said, ensure_ascii=False)})
    serving = asyncio.create_task(ChildConsumer()(scope, incoming.get, outgoing.put))
    code, refused = None, 0
    async with asyncio.timeout(60):
        while True:
            told = await outgoing.get()
            if told["type"] == "websocket.close":
                code = told["code"]
                break
            if told["type"] == "websocket.send":
                answer = json.loads(told["text"])
                refused += answer["kind"] == "error"
                if answer.get("ref") == "the last one":
                    break
        incoming.put_nowait({"type": "websocket.disconnect"})
        await serving
    return code, refused


def readers_still_read(child: Spawn) -> None:
    """Read the child's rows in every way."""
    session = Session.objects.get(pk=child.id)
    for event in feed.beyond(session.project_id, 0, session=session.pk, limit=500).events:
        assert json.loads(event.encode())["payload"] == event.payload
    history.page(session, 10**6)


@pytest.mark.usefixtures("broker")
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames=st.lists(FRAMES, min_size=1, max_size=8))
def test_no_value_of_a_frame_closes_a_connection(frames: list[dict[str, Any]]) -> None:
    child = Spawn()
    said = [{**each, "to": str(child.id)} if each.get("to") == "me" else each for each in filter(passes, frames)]
    code, _ = asyncio.run(talk(child, said, protocol.V1))
    assert code is None
    readers_still_read(child)


@pytest.mark.usefixtures("broker")
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(terminal=TERMINAL, dialect=st.sampled_from([protocol.V1, protocol.PLAIN]))
def test_an_end_is_taken_or_refused(terminal: dict[str, Any], dialect: str) -> None:
    child = Spawn()
    code, refused = asyncio.run(talk(child, [terminal], dialect))
    assert code == (1000 if refused == 0 else None)
    assert Session.objects.get(pk=child.id).status in ("running", "queued", "starting", "suspended", terminal["status"])
    readers_still_read(child)


@pytest.mark.usefixtures("broker")
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=st.lists(EVENT, min_size=1, max_size=8), bodies=st.lists(BODY, max_size=2))
def test_no_value_of_a_plain_child_closes_its_connection(
    events: list[dict[str, Any]], bodies: list[dict[str, Any]]
) -> None:
    child = Spawn()
    frames = [{"kind": "event", "event": event} for event in events]
    asks = [{"kind": "approval_request", "id": f"ask {number}", "body": body} for number, body in enumerate(bodies)]
    code, _ = asyncio.run(talk(child, frames + asks, protocol.PLAIN))
    assert code is None
    readers_still_read(child)


@pytest.fixture(autouse=True)
def _ended(transactional_db: None) -> Any:
    assert projects.default()
    yield
    operations_have_ended()
