"""Attribute a request to a caller, where callers share threads, memory and queue places.

Anyone can invent a token or a cookie, so it identifies nobody until it is proven. Until then a request counts for its
address.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from ipaddress import IPv6Address
from threading import Lock
from typing import Any

from django.http import HttpRequest

#: ASGI scope key of the function that receives the caller's name after authentication.
PROVE = "wardroom.prove"
REMEMBERED, REMEMBERED_SECS = 4096, 300.0


def address(scope: Mapping[str, Any]) -> str:
    """Return the address of a request's sender. One host owns a whole IPv6 /64, so a /64 counts as one address."""
    client = scope.get("client")
    host = str(client[0]) if client else ""
    if ":" not in host:
        return host
    try:
        whole = IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(whole.ipv4_mapped or IPv6Address(int(whole) >> 64 << 64))


def prove(request: HttpRequest, name: str) -> None:
    """Tell the front gate that this request's caller is authenticated."""
    scope: Mapping[str, Any] = getattr(request, "scope", {})  # Django's test client has no ASGI scope.
    if PROVE in scope:
        scope[PROVE](name)


class Proven:
    """Recently authenticated secrets with their callers. It decides attribution, and grants no access."""

    def __init__(self) -> None:
        self._names: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._lock = Lock()  # Views run in threads.

    def name(self, secret: str) -> str:
        """Return the caller of a secret, or an empty text."""
        name, until = self._names.get(_digest(secret), ("", 0.0)) if secret else ("", 0.0)
        return name if time.monotonic() < until else ""

    def remember(self, secret: str, name: str) -> None:
        """Remember that this secret has authenticated its caller."""
        key = _digest(secret)
        with self._lock:
            self._names[key] = (name, time.monotonic() + REMEMBERED_SECS)
            self._names.move_to_end(key)
            if len(self._names) > REMEMBERED:
                self._names.popitem(last=False)


def _digest(secret: str) -> bytes:
    return hashlib.blake2b(secret.encode(), digest_size=16).digest()
