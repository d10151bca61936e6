"""Events: durable ones stay until committed, others may be lost, and numbers are unique and in order."""

from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wardroom.event_buffer import EventBuffer, take_run
from wardroom.protocol import EventBatch, EventFrame, Frame, RunAck


def event(type: str, **fields: Any) -> dict[str, Any]:
    return {"type": type, **fields}


def spans(frames: list[Frame]) -> list[tuple[int, int]]:
    return [(f.seq, f.seq) if isinstance(f, EventFrame) else (f.first_seq, f.last_seq) for f in frames]  # type: ignore[attr-defined]


def test_a_durable_event_flushes_what_is_pending_before_it() -> None:
    buffer = EventBuffer()
    assert buffer.lossy(event("token", text="a"), online=True) == []
    batch, durable = buffer.durable(event("tool_started"), online=True)
    assert isinstance(batch, EventBatch)
    assert batch.qos == "ephemeral"
    assert isinstance(durable, EventFrame)
    assert spans([batch, durable]) == [(1, 1), (2, 2)]


def test_64_ephemeral_events_go_out_at_once() -> None:
    buffer = EventBuffer()
    sent = [frame for _ in range(64) for frame in buffer.lossy(event("token"), online=True)]
    assert spans(sent) == [(1, 64)]
    assert not buffer.pending


def test_a_snapshot_keeps_only_its_latest() -> None:
    buffer = EventBuffer()
    for done in range(5):
        buffer.lossy(event("runner_progress", done=done), online=True)
    [batch] = buffer.flush()
    assert isinstance(batch, EventBatch)
    assert batch.events == [event("runner_progress", done=4)]


def test_what_is_not_committed_is_sent_again_in_order_with_its_own_numbers() -> None:
    buffer = EventBuffer()
    for n in range(3):
        buffer.durable(event("x", n=n), online=True)
    buffer.connection_lost()
    buffer.durable(event("x", n=3), online=False)
    again = buffer.welcome(acked=1, max_unacked=512)
    assert [(f.seq, f.event["n"]) for f in again if isinstance(f, EventFrame)] == [(2, 1), (3, 2), (4, 3)]
    buffer.acknowledge(4)
    assert not buffer.unacknowledged


def test_while_the_connection_is_down_ephemeral_events_go_and_the_latest_snapshot_stays() -> None:
    buffer = EventBuffer()
    buffer.lossy(event("token"), online=False)
    buffer.lossy(event("runner_progress", done=1), online=False)
    buffer.lossy(event("runner_progress", done=2), online=False)
    [batch] = buffer.welcome(acked=0, max_unacked=512)
    assert isinstance(batch, EventBatch)
    assert batch.events == [event("runner_progress", done=2)]


def test_a_new_process_goes_on_after_what_is_committed() -> None:
    buffer = EventBuffer()
    assert buffer.welcome(acked=7, max_unacked=512) == []
    assert spans(buffer.durable(event("x"), online=True)) == [(8, 8)]


def test_durable_events_are_bounded_by_what_the_server_says() -> None:
    buffer = EventBuffer()
    buffer.welcome(acked=0, max_unacked=2)
    buffer.durable(event("x"), online=True)
    assert not buffer.full
    buffer.durable(event("x"), online=True)
    assert buffer.full
    buffer.acknowledge(1)
    assert not buffer.full


def test_a_batch_is_bounded_in_bytes() -> None:
    buffer = EventBuffer()
    for _ in range(5):
        buffer.lossy(event("token", text="x" * 100_000), online=True)
    assert [last - first + 1 for first, last in spans(buffer.flush())] == [2, 2, 1]


def test_a_connection_that_fell_behind_takes_runs_of_durable_events_as_batches() -> None:
    buffer = EventBuffer()
    queue: deque[Frame] = deque()
    for n in range(130):
        queue += buffer.durable(event("x", n=n), online=True)
    queue.append(RunAck())
    buffer.lossy(event("token"), online=True)
    queue += buffer.durable(event("x", n=130), online=True)
    sent = []
    while queue:
        sent.append(take_run(queue))
    kinds = [type(frame).__name__ for frame in sent]
    assert kinds == ["EventBatch", "EventBatch", "EventBatch", "RunAck", "EventBatch", "EventFrame"]
    assert spans([sent[n] for n in (0, 1, 2, 4, 5)]) == [(1, 64), (65, 128), (129, 130), (131, 131), (132, 132)]


def test_a_batch_of_durable_events_is_bounded_in_bytes() -> None:
    buffer = EventBuffer()
    queue: deque[Frame] = deque()
    for _ in range(5):
        queue += buffer.durable(event("x", text="x" * 100_000), online=True)
    sent = []
    while queue:
        sent.append(take_run(queue))
    assert spans(sent) == [(1, 2), (3, 4), (5, 5)]


STEPS = st.lists(st.sampled_from(["durable", "token", "runner_progress", "ack", "drop", "open", "flush"]))


@given(STEPS)
def test_within_a_connection_numbers_only_grow_and_nothing_durable_is_forgotten(steps: list[str]) -> None:
    buffer, online, sent, owed, number = EventBuffer(), True, [], {}, 0
    for step in steps:
        if step == "durable":
            frames = buffer.durable(event("x", n=number), online=online)
            owed[frames[-1].seq] = number  # type: ignore[attr-defined]
            number += 1
            sent += frames if online else []
        elif step == "ack" and owed:
            upto = min(owed)
            buffer.acknowledge(upto)
            owed = {seq: n for seq, n in owed.items() if seq > upto}
        elif step == "drop":
            online = False
            buffer.connection_lost()
        elif step == "open" and not online:
            acked = min(owed, default=buffer.next_seq) - 1
            sent, online = buffer.welcome(acked=acked, max_unacked=512), True
            resent = {f.seq: f.event["n"] for f in sent if isinstance(f, EventFrame)}
            assert resent == owed
        elif step == "flush" and online:
            sent += buffer.flush()
        elif step in ("token", "runner_progress"):
            sent += buffer.lossy(event(step), online=online)
        flat = [seq for span in spans(sent) for seq in span]
        assert flat == sorted(flat)
        firsts = [first for first, _ in spans(sent)]
        assert len(set(firsts)) == len(firsts)
