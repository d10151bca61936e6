"""The held and hot calls of orchestration, answered before Django."""

from starlette.routing import Route

routes: list[Route] = []
