"""A UUID in a path, as RFC 9562 allows: in upper or lower case. Its dashes may be left out."""

from __future__ import annotations

import re
from uuid import UUID

from django.urls import register_converter

PATTERN = "[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}"
_WHOLE = re.compile(PATTERN)


class AnyUUID:
    """The converter `<any_uuid:name>`. It accepts the same as Starlette's `uuid`. Django's accepts lower case only."""

    regex = PATTERN

    def to_python(self, value: str) -> UUID:
        """Return the UUID."""
        return UUID(value)

    def to_url(self, value: UUID | str) -> str:
        """Return the UUID in our form."""
        return str(value)


register_converter(AnyUUID, "any_uuid")


def uuid_of(text: str) -> UUID | None:
    """Return the UUID that a text is, or None. Python's own reader also takes braces and digits of other scripts."""
    return UUID(text) if _WHOLE.fullmatch(text) else None
