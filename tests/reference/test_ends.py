"""Bamboo's ends of a run: watchdog, skipped, suspended, a wait whose lease lapses, over REST and frames."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conformance.conftest import Session, Spawn
from tests.e2e.conformance.peer import connect_child
from tests.waiting import wait_until
from wardroom.client import Client

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def again(session: Session, attempt: int) -> Session:
    """The session's next attempt, with its own token, once it is there."""
    wait_until(lambda: session.now()["attempt"] == attempt)
    token = session.client.post(f"sessions/{session.id}/token", {})["token"]
    return Session(session.client, session.id, token, session.url, attempt)


def test_the_watchdog_checks_after_one_interval_and_the_total_before_the_silence(spawn: Spawn) -> None:
    """The first tick is skipped, and total is checked before idle."""
    names = {"check_interval_secs": 3, "max_total_secs": 1, "max_idle_secs": 1}
    session = spawn(metadata={f"child_watchdog.{name}": value for name, value in names.items()})
    with connect_child(session) as peer:
        peer.begin()
        cancel = peer.hear("cancel", timeout=60)
        over = session.now()
    told = re.fullmatch(r"Child session timed out after (\d+) seconds \(max_total_secs=1\)", over["error"])
    assert (over["status"], cancel["reason"]) == ("timeout", over["error"])
    assert told is not None and int(told[1]) >= 3, over["error"]


def test_a_session_without_any_work_is_skipped(client: Client) -> None:
    """Without a message of the user there is nothing to execute: the run is skipped, not failed."""
    session = client.spawn("", role="idle", runner="process")
    over = client.wait_session(session["id"], timeout=90)
    assert (over["status"], over["error"]) == ("skipped", "nothing to do")


def test_a_child_that_suspends_is_not_done(spawn: Spawn) -> None:
    """Suspended is not terminal: its parent must not be resumed."""
    parent = spawn()
    child = spawn("x", parent=parent.id)
    grandchild = spawn("x", parent=child.id)
    for session in (parent, child):
        with connect_child(session) as peer:
            peer.begin()
            peer.finish("suspended", wait_for="any")
    assert [session.now()["status"] for session in (parent, child)] == ["suspended", "suspended"]
    with connect_child(grandchild) as peer:
        peer.begin()
        peer.finish()
    resumed = again(child, 2)
    assert parent.now()["attempt"] == 1
    with connect_child(resumed) as peer:
        peer.begin(attempt=2)
        assert peer.hear("message")["body"]["child_session_id"] == grandchild.id
        peer.finish()
    wait_until(lambda: parent.now()["attempt"] == 2)


def test_a_wait_whose_lease_lapses_resumes_and_claims_nothing(spawn: Spawn) -> None:
    """The lease ends the wait, not the children, and the parent is told that nothing was verified."""
    parent = spawn()
    child = spawn("x", parent=parent.id)
    with connect_child(parent) as peer:
        peer.begin()
        peer.finish("suspended", wait_for="all", timeout_secs=1)
    with connect_child(again(parent, 2)) as peer:
        run = peer.begin(attempt=2)
        assert run["resume"]["reason"] == "timeout", run["resume"]
        assert "verified" in run["resume"]["note"]
        peer.finish()
    assert child.now()["status"] in ("queued", "starting")
