"""The held and hot calls of approvals, answered before Django."""

from starlette.routing import Route

routes: list[Route] = []
