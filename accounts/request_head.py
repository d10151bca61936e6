"""Facts about the caller and the body from the head of an HTTP request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounts import credentials


class RequestHead:
    """The headers of one request, looked up by name. The first value of a header counts."""

    __slots__ = ("_headers",)

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))

    def text(self, name: bytes) -> str:
        """Return a header's value, or an empty text. `name` is in lower case."""
        return self._headers.get(name, b"").decode("latin-1")

    @property
    def token(self) -> str:
        """The bearer token, or an empty text."""
        return credentials.bearer(self.text(b"authorization"))

    @property
    def length(self) -> int | None:
        """The declared length of the body in bytes. None for a chunked body."""
        if b"transfer-encoding" in self._headers:
            return None
        # The server has already refused a malformed length.
        return int(self._headers.get(b"content-length") or 0)

    @property
    def has_body(self) -> bool:
        """True when a body follows the head."""
        return self.length != 0

    @property
    def wants_a_page(self) -> bool:
        """True for a browser."""
        return "text/html" in self.text(b"accept")
