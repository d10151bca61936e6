"""The routes that are answered before Django: the Starlette routes of each `asgi_routes`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from django.conf import settings
from django.urls import Resolver404, resolve
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from config.urls import nothing_here
from core.web import problems
from core.web.problems import Problem
from server import health
from server.front.gate import App, Target

#: Django answers every address with one of these prefixes. It knows few others, and the rest must not take a turn.
DJANGO = ("/api/", "/admin/", settings.STATIC_URL)
APPS = ("ledger.api", "ledger.adminsite", "approvals.api", "mailbox.api", "orchestration.api")


def routes() -> list[Route]:
    """Return every long-poll or fast-path route, in the order of `APPS`."""
    found = [route for app in APPS for route in import_module(f"{app}.asgi_routes").routes]
    return [*health.routes, *found]


def finder(django: App) -> Callable[[Scope], Target]:
    """Return a function that finds the app for a request.

    A full match of path and method is answered here, everything else by Django.
    """
    # Every path that a route matches has this beginning. To compare it costs far less than a match.
    targets = [
        (route.path.partition("{")[0], route, Target(route.app, getattr(route.app, "reads_body", False)))
        for route in routes()
    ]
    other, nothing = Target(django, takes_turns=True), Target(not_found)

    def find(scope: Scope) -> Target:
        allowed: set[str] = set()
        called = scope["path"].removeprefix(scope.get("root_path", ""))
        for begin, route, target in targets:
            if not called.startswith(begin):
                continue
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                return target
            if match is Match.PARTIAL:
                allowed |= route.methods or set()
        path = scope["path"]
        if path.startswith("/ws/"):
            return Target(upgrade_required)
        if allowed and not _django_knows(path):
            return Target(only(allowed))
        # Django redirects `/admin` to `/admin/`.
        return other if path.startswith(DJANGO) or _django_knows(path) or _django_knows(f"{path}/") else nothing

    return find


def _django_knows(path: str) -> bool:
    try:
        return resolve(path).func is not nothing_here
    except Resolver404:
        return False


def only(methods: set[str]) -> App:
    """Return the answer for other methods at an address unknown to Django: 204 to OPTIONS, else 405, with `Allow`."""
    allow = {"Allow": ", ".join(sorted({*methods, "OPTIONS"}))}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "OPTIONS":
            raise Problem("invalid", 405, f'Method "{scope["method"]}" not allowed.', headers=allow)
        await Response(status_code=204, headers=allow)(scope, receive, send)

    return app


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 404 for an address that neither Django nor a route knows."""
    raise problems.not_found("There is nothing at this address.")


async def upgrade_required(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 426 to a plain request at a child's address. Usually a proxy has dropped the WebSocket headers."""
    raise Problem(
        "upgrade-required",
        426,
        "This address needs a WebSocket, but the headers Upgrade and Connection are missing. A proxy must "
        "pass them on; nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
        'proxy_set_header Connection "upgrade";',
        headers={"Upgrade": "websocket"},
    )
