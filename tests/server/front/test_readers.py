"""A reader has a deadline for an answer, with a lowest rate. A slow reader is closed."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from server.front.connection import FrontConnection
from tests.mailbox.faces import Caller, Server
from tests.server.front.wire import wire
from tests.waiting import breathe

pytestmark = pytest.mark.django_db(transaction=True)

PIECE = 4096


def read_slowly(connection: Any) -> int:
    """Read in small pieces with pauses, and return the number of bytes."""
    taken = 0
    try:
        while bit := connection.socket.recv(PIECE):
            taken += len(bit)
            breathe(0.01)
    except ConnectionError:
        pass
    return taken


@pytest.fixture
def long_answer(caller: Caller) -> str:
    """The path of a page of a megabyte, which Django writes in pieces."""
    for number in range(5):
        event = {"id": f"m{number}", "message_kind": "task", "body": "x" * 250_000}
        assert caller.post("/api/v1/mailboxes/desk/messages", event).status_code == 201
    return "/api/v1/mailboxes/desk/messages"


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel keeps little of an answer, as for a reader far away; usually it keeps megabytes on one machine."""
    made = FrontConnection.connection_made

    def connection_made(connection: Any, transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)
        made(connection, transport)

    monkeypatch.setattr(FrontConnection, "connection_made", connection_made)


@pytest.mark.parametrize(("floor", "whole"), [(50 * 1024 * 1024, False), (1024, True)])
def test_a_reader_below_the_floor_is_cut_off_and_one_above_it_is_not(
    timings: Any,
    caller: Caller,
    web_server: Server,
    long_answer: Any,
    small_buffers: Any,
    floor: int,
    whole: bool,
) -> None:
    timings(send_timeout_secs=0.5)
    timings(send_bytes_per_sec=floor)
    with wire(web_server.port, window=PIECE) as connection:
        connection.head("GET", long_answer, "Connection: close", token=caller.token)
        assert (read_slowly(connection) > 1_000_000) is whole
