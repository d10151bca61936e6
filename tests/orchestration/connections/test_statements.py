"""The price of a gated call in statements: ask, registration, decision by REST, reply, received, consumed."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.db.backends.sqlite3.base import SQLiteCursorWrapper

from approvals.models import Approval
from tests.orchestration.connections.callers import Asker, Caller, asker, caller  # noqa: F401 - fixtures
from tests.orchestration.connections.conftest import Peer, Server, Spawn

BODY = {"tool_name": "shell", "permission": "shell.run", "resource": "host", "arguments": {"command": "ls"}}
#: PostgreSQL writes events, audit rows and the head with one statement, after one that makes a missing head.
STATEMENTS = {"sqlite": 35, "postgresql": 27}
#: Not part of any operation: transactions, a new connection's settings, and the renewal of plans.
APART = ("BEGIN", "COMMIT", "PRAGMA", "SET ", "SELECT set_config", "DISCARD", "SHOW ")


class Statements:
    """Every statement that a thread of the server runs, in order."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def note(self, statement: Any) -> None:
        thread = threading.current_thread()
        text = " ".join(str(statement).split())
        if thread is not threading.main_thread() and thread.name != "presence" and not text.startswith(APART):
            self.seen.append(text)

    def take(self) -> list[str]:
        seen, self.seen = self.seen, []
        return seen


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[Statements]:
    """The drivers' own cursors are watched, so that statements written by hand count as well."""
    noted = Statements()

    def watch(cursor: Any, name: str) -> None:
        plain: Callable[..., Any] = getattr(cursor, name)

        def run(self: Any, statement: Any, *args: Any, **kwargs: Any) -> Any:
            noted.note(statement)
            return plain(self, statement, *args, **kwargs)

        monkeypatch.setattr(cursor, name, run)

    for cursor in (SQLiteCursorWrapper, psycopg.Cursor):
        for name in ("execute", "executemany"):
            watch(cursor, name)
    yield noted


def gated_call(peer: Peer, answers: Caller) -> None:
    request = str(uuid.uuid4())
    peer.say("approval_request", id=request, body=BODY)
    registered = peer.hear("approval_registered")
    body = {"decision": "approve", "digest": registered["digest"]}
    decided = answers.post(f"/approvals/{registered['approval_id']}/decide", body)
    assert decided.status_code == 200, decided.text
    reply = peer.hear("approval_reply")
    peer.say("approval_ack", id=request, state="received")
    peer.say("approval_ack", id=request, state="consumed", digest=reply["digest"], claim="mine")
    peer.hear("approval_consumed")
    taken = Approval.objects.get(request_id=request)
    assert taken.delivered_at is not None and taken.consumed_at is not None


def test_a_gated_call_costs_so_many_statements(
    server: Server,
    child: Spawn,
    caller: Asker,  # noqa: F811
    statements: Statements,
    timings: Callable[..., None],
) -> None:
    """On SQLite: the ask 11, the decision 8, the look for it 2, each acknowledgement 7."""
    timings(connection_poll_secs=120)
    answers = caller("approvals:decide", "approvals:read")
    with server.child(child) as peer:
        gated_call(peer, answers)
        assert peer.silent(1.0)
        statements.take()
        gated_call(peer, answers)
        assert peer.silent(1.0)  # A look for nothing would come now.
        seen = statements.take()
    assert len(seen) == STATEMENTS[connection.vendor], "\n".join(each[:160] for each in seen)
