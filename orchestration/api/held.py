"""The held and hot calls of orchestration, answered before Django."""

from starlette.routing import Route

from orchestration.api import held_asks, held_events, held_keeping

routes: list[Route] = [*held_asks.routes, *held_events.routes, *held_keeping.routes]
