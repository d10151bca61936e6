"""The one writer of REST answers: a Struct, or plain JSON values, as compact JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from rest_framework import renderers
from starlette.responses import JSONResponse

_JSON = msgspec.json.Encoder(enc_hook=str)


class StructRenderer(renderers.JSONRenderer):
    """Like DRF's renderer, with msgspec as the encoder: it knows Structs."""

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        """Return the answer as JSON. `Accept: application/json; indent=4` indents it."""
        if data is None:
            return b""
        raw = _JSON.encode(data)
        indent = self.get_indent(accepted_media_type or self.media_type, renderer_context or {})
        return msgspec.json.format(raw, indent=indent) if indent else raw


class StructResponse(JSONResponse):
    """The same for an answer before Django."""

    def render(self, content: Any) -> bytes:
        """Return the answer as JSON."""
        return _JSON.encode(content)
