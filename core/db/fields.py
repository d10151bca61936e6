"""A column that holds JSON as text."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from django.db import models


class JSONText(models.TextField):
    """A JSON value, stored as compact text: the same bytes on both databases, never longer than the input.

    PostgreSQL's `jsonb` writes `1e300` with 301 digits, so a small value could become a large answer. Text also goes
    into an answer unchanged, without being decoded. No query looks inside the value.
    """

    # The types that the type checker accepts and returns for a field of this class.
    _pyi_private_set_type: Any
    _pyi_private_get_type: Any

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        """Decode the text that the database holds."""
        return None if value is None else json.loads(value)

    def get_prep_value(self, value: Any) -> Any:
        """Encode the value. An SQL expression stays unchanged."""
        if value is None or hasattr(value, "resolve_expression"):
            return value
        return msgspec.json.encode(value).decode()
