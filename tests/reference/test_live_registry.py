"""Bamboo's live registry: senders and pending requests, each taken once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.e2e.conformance.conftest import Session, Spawn
from tests.e2e.conformance.peer import connect_child
from tests.waiting import wait_until
from wardroom.client import Client, Problem

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def test_an_unknown_id_is_refused_and_disturbs_nothing(client: Client, spawn: Spawn) -> None:
    """take_pending of an unknown id is false."""
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.ask()
        shown = session.pending()
        with pytest.raises(Problem) as refusal:
            client.decide({**shown, "id": str(uuid4())}, "approve")
        assert (refusal.value.status, refusal.value.type) == (404, "not-found")
        assert client.approval(shown["id"])["status"] == "pending"
        client.decide(shown, "approve")
        assert peer.hear("approval_reply")["decision"] == "approved"


def test_of_eight_answers_at_once_one_is_taken_and_one_frame_is_sent(client: Client, spawn: Spawn) -> None:
    """take_pending is one-shot: the second answer is false, and nothing is on the wire."""
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.ask()
        shown = session.pending()

        def answer(number: int) -> int:
            try:
                # The same decision by the same person is no second one, so each sends other arguments.
                client.decide(shown, "edit", arguments={"command": f"ls {number}"})
            except Problem as problem:
                return problem.status
            return 200

        with ThreadPoolExecutor(8) as people:
            said = sorted(people.map(answer, range(8)))
        assert said == [200] + [409] * 7
        reply = peer.hear("approval_reply")
        assert reply["arguments"] == client.approval(shown["id"])["arguments"]
        assert peer.hears_nothing()


def test_one_request_id_of_two_children_is_two_requests(client: Client, spawn: Spawn) -> None:
    """Pending requests are kept for each child: the map is child to ids."""
    one, other = spawn(), spawn()
    with connect_child(one) as first, connect_child(other) as second:
        for peer in (first, second):
            peer.begin()
            peer.ask()
        client.decide(one.pending(), "deny")
        assert first.hear("approval_reply")["decision"] == "denied"
        assert second.hears_nothing()
        client.decide(other.pending(), "approve")
        assert second.hear("approval_reply")["decision"] == "approved"


def test_an_answer_for_an_old_attempt_leaves_the_new_one_pending(client: Client, spawn: Spawn) -> None:
    """The late end of an old run must not take the pending request of the new one (traps T3 and F7)."""
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.ask()
        old = session.pending()
        peer.finish("error", error="again, please")
    client.post(f"sessions/{session.id}/retry", {})
    wait_until(lambda: session.now()["attempt"] == 2)
    token = client.post(f"sessions/{session.id}/token", {})
    again = Session(client, session.id, token["token"], session.url, attempt=2)
    with connect_child(again) as peer:
        peer.begin(attempt=2)
        peer.ask()
        shown = again.pending()
        with pytest.raises(Problem) as refusal:
            client.decide(old, "approve")
        assert refusal.value.status == 409
        assert client.approval(shown["id"])["status"] == "pending"
        assert peer.hears_nothing()
        client.decide(shown, "approve")
        assert peer.hear("approval_reply")["decision"] == "approved"
