"""The only parser of REST bodies: strict JSON, with a size check before decoding."""

from __future__ import annotations

from typing import IO, Any

from rest_framework.parsers import BaseParser

from core.limits import LIMITS
from core.web.problems import Problem
from wardroom import strict


class StrictJSONParser(BaseParser):
    """Refuses bodies that one of the databases would refuse, or that two readers would read differently."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        """Decode the body. An empty body is an empty object. 413 over the limit, 422 unless it is strict JSON."""
        refuse_encoded(parser_context["request"].headers.get("Content-Encoding", ""))
        limit = LIMITS.max_request_bytes
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise too_large()
        return decode(raw)


def decode(raw: bytes) -> Any:
    """Return the value of a body. An empty body is an empty object. 422 unless it is strict JSON."""
    if not raw.strip():
        return {}
    return strict.loads(raw, max_depth=LIMITS.max_depth, max_keys=LIMITS.max_keys)


def refuse_encoded(encoding: str) -> None:
    """Raise 415 for a compressed body: its size limit would not bound the decoded size."""
    if encoding.strip().lower() not in ("", "identity"):
        detail = "Send the body as it is, without Content-Encoding."
        raise Problem("unsupported-encoding", 415, detail, headers={"Accept-Encoding": "identity"})


def too_large() -> Problem:
    """Return the 413 for a body over the limit."""
    return Problem("too-large", 413, f"The body is over {LIMITS.max_request_bytes} bytes.")
