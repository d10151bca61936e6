"""The held and hot calls of ledger, answered before Django."""

from starlette.routing import Route

routes: list[Route] = []
