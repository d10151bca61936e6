"""The shape of a tool's schema for callers of REST."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct

from core.web.fields import says


class ApprovalToolSchema(Struct, frozen=True):
    tool_schema: Annotated[dict[str, Any] | None, says("The JSON Schema that the asker gave for the arguments.")]
