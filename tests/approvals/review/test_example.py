"""The example of a reviewer works as its page says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from accounts.models import Project
from approvals.review import round
from tests.approvals.conftest import Asked
from tests.approvals.review.conftest import add
from tests.approvals.rules.conftest import Ruled
from tests.house.sources import ROOT
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db


def test_the_example_denies_and_leaves_the_rest_to_people(
    project: Project, ruled: Ruled, asked: Asked, monkeypatch: Any
) -> None:
    monkeypatch.setattr(round, "IDLE_SECS", 0.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _, secret = add(project, "careful", url=f"http://127.0.0.1:{port}/")
    ruled(outcome="review", review={"reviewer": "careful"})
    env = {**os.environ, "SECRET": str(secret), "PORT": str(port)}
    with subprocess.Popen([sys.executable, ROOT / "examples/reviewer/reviewer.py"], env=env) as example:
        try:
            wait_until(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True)
            rows = [asked(arguments={"command": command}) for command in ("rm -rf x", "ls")]
            assert round.run() == 2
        finally:
            example.kill()
    for row in rows:
        row.refresh_from_db()
    assert [row.status for row in rows] == ["denied", "pending"]
    assert rows[1].reviews[0]["note"] == "Nothing to say against it."
