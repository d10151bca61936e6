"""Bamboo's scheduler, watchdog defaults and waits, over REST and the child's connection."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conformance.conftest import Session, Spawn
from tests.e2e.conformance.peer import connect_child
from tests.waiting import wait_until
from wardroom.client import Client

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def test_a_job_that_cannot_start_is_an_error_of_its_own_and_the_next_one_runs(client: Client, spawn: Spawn) -> None:
    """Each job is isolated: a failure publishes an error completion, and the loop goes on."""
    parent = spawn()
    with connect_child(parent) as peer:
        peer.begin()
        broken = client.spawn("x", role="broken", runner="process", parent=parent.id)
        fine = client.spawn("! true", role="runbook", runner="process", parent=parent.id)
        told = [peer.hear("message", timeout=90)["body"] for _ in range(2)]
        ends = {each["child_session_id"]: (each["status"], each["attempt"]) for each in told}
        assert ends == {broken["id"]: ("error", 1), fine["id"]: ("completed", 1)}
        assert "No such file" in client.session(broken["id"])["error"]
        started = [each for each in parent.events() if each["type"] == "sub_agent_completed"]
        assert len(started) == 2, "one completion for each"


@pytest.mark.parametrize(
    ("given", "total", "idle"),
    [
        ({}, 3600, 900),
        ({"max_total_secs": 120, "max_idle_secs": "30"}, 120, 30),
        ({"max_total_secs": "0", "max_idle_secs": -1}, 3600, 900),
        ({"max_total_secs": "x", "max_idle_secs": None}, 3600, 900),
    ],
)
def test_the_watchdog_has_its_defaults_and_takes_positive_integers_alone(
    spawn: Spawn, given: dict[str, Any], total: int, idle: int
) -> None:
    """The limits are 3600 and 900 s; other values than positive integers are ignored."""
    session = spawn(metadata={f"child_watchdog.{name}": value for name, value in given.items()})
    with connect_child(session) as peer:
        run = peer.begin()
        assert (run["limits"]["max_total_secs"], run["limits"]["max_idle_secs"]) == (total, idle)
        peer.finish()


def finish(child: Session, status: str) -> None:
    with connect_child(child) as peer:
        peer.begin()
        peer.finish(status)


@pytest.mark.parametrize(
    ("wait_for", "ends", "resumes"),
    [
        ("all", ["completed", "error", "completed"], 3),
        ("any", ["completed", "completed", "completed"], 1),
        ("first_error", ["completed", "error", "completed"], 2),
        ("first_error", ["completed", "completed", "completed"], 3),
    ],
)
def test_a_parent_resumes_as_it_asked_to(spawn: Spawn, wait_for: str, ends: list[str], resumes: int) -> None:
    """all: every child is over; any: at least one; first_error: a failure at once, else all."""
    parent = spawn()
    children = [spawn("x", parent=parent.id) for _ in ends]
    with connect_child(parent) as peer:
        peer.begin()
        peer.finish("suspended", wait_for=wait_for)
    assert parent.now()["status"] == "suspended"
    for number, (child, status) in enumerate(zip(children, ends, strict=True), 1):
        finish(child, status)
        if number < resumes:
            assert parent.now()["status"] == "suspended", number
        else:
            wait_until(lambda: parent.now()["attempt"] == 2)
    resumed = [event for event in parent.events() if event["type"] == "attempt_ready"]
    assert len(resumed) == 2, "one resume, however many ends"
