"""The simple case: a child connects, gets its work, reports, and ends."""

from __future__ import annotations

from ledger.models import Event
from orchestration.states import Status
from tests.orchestration.connections.conftest import Server, Spawn


def test_a_v1_child_gets_its_run_and_ends(server: Server, child: Spawn) -> None:
    with server.child(child, run=False) as peer:
        run = peer.hear("run")
        assert run["assignment"] == "do it"
        assert run["session"]["session_id"] == str(child.id)
        peer.say("run_ack")
        peer.say("event", seq=1, event={"type": "round_started", "round": 1})
        assert peer.hear("event_ack")["seq"] == 1
        peer.say("terminal", status="completed", result="done")
        assert peer.hear("terminal_ack")["status"] == "completed"
        assert peer.code() == 1000
    assert (child.session.status, child.session.result) == (Status.COMPLETED, "done")
    assert child.session.rounds == 1
    assert Event.objects.filter(session=child.id, source="child", seq=1).count() == 1


def test_a_plain_child_gets_its_run_and_ends(server: Server, child: Spawn) -> None:
    with server.plain(child) as peer:
        assert peer.hear("run")["assignment"] == "do it"
        peer.say("event", event={"type": "tool_started", "tool_name": "shell"})
        peer.say("event", event={"type": "hello"})
        peer.say("terminal", status="completed", result="done")
        assert peer.code() == 1000
    assert child.session.status == Status.COMPLETED
    assert child.session.last_tool == "shell"
    seqs = Event.objects.filter(session=child.id, source="child").order_by("cursor").values_list("seq", flat=True)
    assert list(seqs) == [1, 2]
