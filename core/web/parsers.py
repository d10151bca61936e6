"""The only parser of REST bodies: strict JSON, bounded before it is decoded."""

from __future__ import annotations

from typing import IO, Any

from django.conf import settings
from rest_framework.parsers import BaseParser

from core.web.problems import Problem
from wardroom import strict


class StrictJSONParser(BaseParser):
    """Refuses what one of our databases would refuse, or what two readers would read differently."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        """Decode the body; an empty one is an empty object. 413 over the limit, 422 for what is not strict JSON."""
        refuse_encoded(parser_context["request"].headers.get("Content-Encoding", ""))
        limit = settings.WARDROOM["max_request_bytes"]
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise too_large()
        return decode(raw)


def decode(raw: bytes) -> Any:
    """The value of a body; an empty one is an empty object. 422 for what is not strict JSON."""
    if not raw.strip():
        return {}
    return strict.loads(raw, max_depth=settings.WARDROOM["max_depth"], max_keys=settings.WARDROOM["max_keys"])


def refuse_encoded(encoding: str) -> None:
    """Raise 415 for a body that is compressed: its bound would say nothing of what it becomes."""
    if encoding.strip().lower() not in ("", "identity"):
        told = "Send the body as it is, without Content-Encoding."
        raise Problem("unsupported-encoding", 415, told, headers={"Accept-Encoding": "identity"})


def too_large() -> Problem:
    """413, for a body over the limit."""
    return Problem("too-large", 413, f"The body is over {settings.WARDROOM['max_request_bytes']} bytes.")
