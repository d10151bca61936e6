"""Which calls are answered before Django, and how: one Starlette router over each app's `held.routes`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from starlette.routing import Match, Route, Router

from accounts.problems import asgi_errors
from config import health

ROOMS = ("ledger", "approvals", "mailbox", "orchestration")


def routes() -> list[Route]:
    """Every held or hot route, in the order of the rooms."""
    held = [route for room in ROOMS for route in import_module(f"{room}.held").routes]
    return [*health.routes, *held]


def held_or_django(django: Any) -> Any:
    """An ASGI app: a full match of path and method goes to Starlette, everything else to Django."""
    held = routes()
    router = asgi_errors(Router(routes=held))

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        mine = any(route.matches(scope)[0] is Match.FULL for route in held)
        await (router if mine else django)(scope, receive, send)

    return application
