"""The Channels consumer of a child's socket: it carries frames between the socket and a `Connection`."""

from __future__ import annotations

from typing import Any

from channels.consumer import AsyncConsumer

from core.web import callers
from orchestration.connections import handshake
from orchestration.connections.connection import Connection
from orchestration.connections.transport import Receive, Send, Transport


class ChildConsumer(AsyncConsumer):
    """One socket. Channels' own loop is not used: it costs a thread hop and two tasks for each frame."""

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve the socket to its end."""
        connection = Connection(handshake.read(scope), callers.address(scope), Transport(receive, send))
        await connection.serve(scope["url_route"]["kwargs"].get("session_id", ""))
