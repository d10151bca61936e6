"""The held and hot calls of mailbox, answered before Django."""

from starlette.routing import Route

routes: list[Route] = []
