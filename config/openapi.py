"""Complete the OpenAPI document with the calls that no view describes."""

from __future__ import annotations

from typing import Any

from core.web.openapi import routes


def add_routes(result: Any, **_: Any) -> Any:
    """Add the calls that are answered before Django and have no view."""
    from config import asgi_routes  # Its routes need every app, and the settings name this module.

    routes.add(result, asgi_routes.routes())
    return result
