"""Connections on which nothing happens stay open, although redis-py gives up on a quiet read after five seconds.

The core layer of channels_redis waits for exactly five seconds at a time: as it comes, it loses sockets on which
nothing happens. The hub has one subscription per process and no such deadline. The control shows that it is seen.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import unix_connect

from orchestration.models import Attempt
from tests.orchestration.connections.conftest import Peer, Server, Spawn
from tests.servers.process import short_folder
from tests.waiting import outage, wait_until

SOCKETS = 20
HELD_SECS = 60.0


@pytest.fixture
def stock(broker: Any) -> Iterator[Path]:
    """The unix socket of a server with the stock consumer and layer."""
    path = short_folder() / "stock"
    environment = {**os.environ, "CONTROL_REDIS_URL": broker.url()}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "tests.orchestration.connections.stock_layer:application",
        "--uds",
        str(path),
    ]
    server = subprocess.Popen([*command, "--log-level", "critical"], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(path), 20)
        yield path
    finally:
        server.kill()
        server.wait()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
    return True


@pytest.mark.timeout(240)
def test_idle_connections_stay_open_where_the_stock_layer_loses_some(
    server: Server, stock: Path, spawn: Callable[..., Spawn], backend: str
) -> None:
    if backend != "sqlite":
        pytest.skip("a minute well spent once: it is about sockets and Redis, not about the database")
    children = [spawn() for _ in range(SOCKETS)]
    with ExitStack() as open_:
        ours = [open_.enter_context(server.child(child)) for child in children]
        control = [
            open_.enter_context(Peer(unix_connect(str(stock), "ws://stock/", compression=None))) for _ in range(SOCKETS)
        ]
        outage(HELD_SECS)
        lost = [sum(peer.is_closed() for peer in peers) for peers in (ours, control)]
    assert lost[0] == 0
    assert lost[1] > 0, "the stock layer lost none: is the control still one?"
    assert Attempt.objects.filter(connection=1).count() == SOCKETS
