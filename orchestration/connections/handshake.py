"""Read a handshake: the token and the subprotocol. URL parameters and cookies are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accounts import bulk_authentication, credentials
from core.concurrency.threadpool import run_in_threadpool
from orchestration.connections import backpressure
from orchestration.connections.fencing import ConnectionRejected, Principal, authenticate
from wardroom.protocol import BEARER, PLAIN, V1, Close


@dataclass(frozen=True, slots=True)
class Offer:
    """The token and subprotocols that a client offers. `subprotocol` is the one that the server accepts."""

    token: str
    plain: bool
    subprotocol: str | None
    understood: bool = True

    def __repr__(self) -> str:
        return f"Offer(plain={self.plain}, subprotocol={self.subprotocol!r})"


def read(scope: Mapping[str, Any]) -> Offer:
    """Read the token and the newest common subprotocol.

    The token is in the `Authorization` header, or in a `bearer.` subprotocol for clients that cannot set headers.
    """
    offered: list[str] = list(scope.get("subprotocols") or [])
    header = next((value for name, value in scope.get("headers") or [] if name == b"authorization"), b"")
    entry = next((name.removeprefix(BEARER) for name in offered if name.startswith(BEARER)), "")
    token = credentials.bearer(header.decode("latin-1")) or entry
    dialects = [name for name in offered if not name.startswith(BEARER)]
    if V1 in dialects:
        return Offer(token, False, V1)
    if PLAIN in dialects:
        return Offer(token, True, PLAIN)
    return Offer(token, True, None, understood=not dialects)


async def admit(offer: Offer, address: str, session: str) -> Principal:
    """Authenticate the token. Forged tokens share one query and take no thread each.

    Raises ConnectionRejected as `authenticate` does, and CloseConnection 1013 when too many checks are running.
    """
    if not credentials.SHAPE.match(offer.token):
        raise ConnectionRejected(Close.UNAUTHENTICATED, "unknown token")
    with backpressure.count_handshake(address):
        found = await bulk_authentication.recognise(offer.token)
        if found.state == "unknown":
            raise ConnectionRejected(Close.UNAUTHENTICATED, "unknown token")
        return await run_in_threadpool(authenticate, offer.token, session, found)
