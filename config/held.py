"""Which calls are answered before Django, and how: the Starlette routes of each app's `held.routes`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from starlette.routing import Match, Route
from starlette.types import Scope

from config import health
from config.front.gate import App, Target

ROOMS = ("ledger", "approvals", "mailbox", "orchestration")


def routes() -> list[Route]:
    """Every held or hot route, in the order of the rooms."""
    held = [route for room in ROOMS for route in import_module(f"{room}.held").routes]
    return [*health.routes, *held]


def finder(django: App) -> Callable[[Scope], Target]:
    """Which app answers a request: a full match of path and method is answered here, everything else by Django."""
    held = [(route, Target(route.handle, getattr(route.app, "reads_body", False))) for route in routes()]
    other = Target(django)

    def find(scope: Scope) -> Target:
        for route, target in held:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                return target
        return other

    return find
