"""Whom a request counts for, where callers share what is scarce: threads, memory, places in a line.

A token or a cookie can be made up, so it names nobody before it is proven: until then a request counts for the address
that it comes from.
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

#: The key in a request's ASGI scope of what is told the name of its caller, once they are proven.
PROVE = "wardroom.prove"
REMEMBERED, REMEMBERED_SECS = 4096, 300.0


def address(scope: Mapping[str, Any]) -> str:
    """The address that a request comes from. One host has all of an IPv6 /64, so that counts as one."""
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
    """Tell the front gate that the caller of this request is who they say."""
    scope: Mapping[str, Any] = getattr(request, "scope", {})  # Django's own test client gives none.
    if PROVE in scope:
        scope[PROVE](name)


class Proven:
    """Who was proven lately by which secret. It decides whom a request counts for, and opens nothing."""

    def __init__(self) -> None:
        self._names: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._lock = Lock()  # Views run in threads.

    def name(self, secret: str) -> str:
        """Whose secret this is, or nothing."""
        name, until = self._names.get(_digest(secret), ("", 0.0)) if secret else ("", 0.0)
        return name if time.monotonic() < until else ""

    def remember(self, secret: str, name: str) -> None:
        """This secret has proven its caller."""
        key = _digest(secret)
        with self._lock:
            self._names[key] = (name, time.monotonic() + REMEMBERED_SECS)
            self._names.move_to_end(key)
            if len(self._names) > REMEMBERED:
                self._names.popitem(last=False)


def _digest(secret: str) -> bytes:
    return hashlib.blake2b(secret.encode(), digest_size=16).digest()
