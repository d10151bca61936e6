"""Facts about the caller and the body from the head of an HTTP request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounts import credentials


class RequestHead:
    """The headers of one request, looked up by name. The first value of a header counts."""

    __slots__ = ("_headers", "has_body", "length", "token")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self._headers = headers
        #: The declared length of the body in bytes, which the server has found to be a number; None for a chunked body.
        self.length = None if b"transfer-encoding" in headers else int(headers.get(b"content-length") or 0)
        #: True when a body follows the head.
        self.has_body = self.length != 0
        #: The bearer token, or an empty text.
        self.token = credentials.bearer(self.text(b"authorization"))

    def text(self, name: bytes) -> str:
        """Return a header's value, or an empty text. `name` is in lower case."""
        return self._headers.get(name, b"").decode("latin-1")

    @property
    def wants_a_page(self) -> bool:
        """True for a browser."""
        return "text/html" in self.text(b"accept")
