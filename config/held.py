"""Which calls are answered before Django, and how: the Starlette routes of each app's `held.routes`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from starlette.routing import Match, Route

from accounts.problems import asgi_errors
from config import health

ROOMS = ("ledger", "approvals", "mailbox", "orchestration")


def routes() -> list[Route]:
    """Every held or hot route, in the order of the rooms."""
    held = [route for room in ROOMS for route in import_module(f"{room}.held").routes]
    return [*health.routes, *held]


def held_or_django(django: Any) -> Any:
    """An ASGI app: a full match of path and method is answered here, everything else goes to Django."""
    held = [(route, asgi_errors(route.handle)) for route in routes()]

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        for route, handle in held:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                return await handle(scope, receive, send)
        await django(scope, receive, send)

    return application
