"""Events: durable ones are owed until committed, lossy ones may go, and no number is used twice or out of order."""

from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wardroom.lanes import Lanes, take_run
from wardroom.protocol import EventBatch, EventFrame, Frame, RunAck


def event(type: str, **fields: Any) -> dict[str, Any]:
    return {"type": type, **fields}


def spans(frames: list[Frame]) -> list[tuple[int, int]]:
    return [(f.seq, f.seq) if isinstance(f, EventFrame) else (f.first_seq, f.last_seq) for f in frames]  # type: ignore[attr-defined]


def test_a_durable_event_flushes_what_is_pending_before_it() -> None:
    lanes = Lanes()
    assert lanes.lossy(event("token", text="a"), online=True) == []
    batch, durable = lanes.durable(event("tool_started"), online=True)
    assert isinstance(batch, EventBatch)
    assert batch.qos == "ephemeral"
    assert isinstance(durable, EventFrame)
    assert spans([batch, durable]) == [(1, 1), (2, 2)]


def test_64_ephemeral_events_go_out_at_once() -> None:
    lanes = Lanes()
    sent = [frame for _ in range(64) for frame in lanes.lossy(event("token"), online=True)]
    assert spans(sent) == [(1, 64)]
    assert not lanes.pending


def test_a_snapshot_keeps_only_its_latest() -> None:
    lanes = Lanes()
    for done in range(5):
        lanes.lossy(event("runner_progress", done=done), online=True)
    [batch] = lanes.flush()
    assert isinstance(batch, EventBatch)
    assert batch.events == [event("runner_progress", done=4)]


def test_what_is_not_committed_is_sent_again_in_order_with_its_own_numbers() -> None:
    lanes = Lanes()
    for n in range(3):
        lanes.durable(event("x", n=n), online=True)
    lanes.line_lost()
    lanes.durable(event("x", n=3), online=False)
    again = lanes.welcome(acked=1, max_unacked=512)
    assert [(f.seq, f.event["n"]) for f in again if isinstance(f, EventFrame)] == [(2, 1), (3, 2), (4, 3)]
    lanes.acknowledge(4)
    assert not lanes.owed


def test_while_the_line_is_down_ephemeral_events_go_and_the_latest_snapshot_stays() -> None:
    lanes = Lanes()
    lanes.lossy(event("token"), online=False)
    lanes.lossy(event("runner_progress", done=1), online=False)
    lanes.lossy(event("runner_progress", done=2), online=False)
    [batch] = lanes.welcome(acked=0, max_unacked=512)
    assert isinstance(batch, EventBatch)
    assert batch.events == [event("runner_progress", done=2)]


def test_a_new_process_goes_on_after_what_is_committed() -> None:
    lanes = Lanes()
    assert lanes.welcome(acked=7, max_unacked=512) == []
    assert spans(lanes.durable(event("x"), online=True)) == [(8, 8)]


def test_durable_events_are_bounded_by_what_the_server_says() -> None:
    lanes = Lanes()
    lanes.welcome(acked=0, max_unacked=2)
    lanes.durable(event("x"), online=True)
    assert not lanes.full
    lanes.durable(event("x"), online=True)
    assert lanes.full
    lanes.acknowledge(1)
    assert not lanes.full


def test_a_batch_is_bounded_in_bytes() -> None:
    lanes = Lanes()
    for _ in range(5):
        lanes.lossy(event("token", text="x" * 100_000), online=True)
    assert [last - first + 1 for first, last in spans(lanes.flush())] == [2, 2, 1]


def test_a_line_that_fell_behind_takes_runs_of_durable_events_as_batches() -> None:
    lanes = Lanes()
    queue: deque[Frame] = deque()
    for n in range(130):
        queue += lanes.durable(event("x", n=n), online=True)
    queue.append(RunAck())
    lanes.lossy(event("token"), online=True)
    queue += lanes.durable(event("x", n=130), online=True)
    sent = []
    while queue:
        sent.append(take_run(queue))
    kinds = [type(frame).__name__ for frame in sent]
    assert kinds == ["EventBatch", "EventBatch", "EventBatch", "RunAck", "EventBatch", "EventFrame"]
    assert spans([sent[n] for n in (0, 1, 2, 4, 5)]) == [(1, 64), (65, 128), (129, 130), (131, 131), (132, 132)]


def test_a_batch_of_durable_events_is_bounded_in_bytes() -> None:
    lanes = Lanes()
    queue: deque[Frame] = deque()
    for _ in range(5):
        queue += lanes.durable(event("x", text="x" * 100_000), online=True)
    sent = []
    while queue:
        sent.append(take_run(queue))
    assert spans(sent) == [(1, 2), (3, 4), (5, 5)]


STEPS = st.lists(st.sampled_from(["durable", "token", "runner_progress", "ack", "drop", "open", "flush"]))


@given(STEPS)
def test_within_a_line_numbers_only_grow_and_nothing_durable_is_forgotten(steps: list[str]) -> None:
    lanes, online, line, owed, number = Lanes(), True, [], {}, 0  # type: ignore[var-annotated]
    for step in steps:
        if step == "durable":
            frames = lanes.durable(event("x", n=number), online=online)
            owed[frames[-1].seq] = number  # type: ignore[attr-defined]
            number += 1
            line += frames if online else []
        elif step == "ack" and owed:
            upto = min(owed)
            lanes.acknowledge(upto)
            owed = {seq: n for seq, n in owed.items() if seq > upto}
        elif step == "drop":
            online = False
            lanes.line_lost()
        elif step == "open" and not online:
            acked = min(owed, default=lanes.next_seq) - 1
            line, online = lanes.welcome(acked=acked, max_unacked=512), True
            resent = {f.seq: f.event["n"] for f in line if isinstance(f, EventFrame)}
            assert resent == owed
        elif step == "flush" and online:
            line += lanes.flush()
        elif step in ("token", "runner_progress"):
            line += lanes.lossy(event(step), online=online)
        flat = [seq for span in spans(line) for seq in span]
        assert flat == sorted(flat)
        firsts = [first for first, _ in spans(line)]
        assert len(set(firsts)) == len(firsts)
