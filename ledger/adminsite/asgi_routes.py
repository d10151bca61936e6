"""The changes for the admin pages, served before Django."""

from __future__ import annotations

from starlette.routing import Route

from ledger.adminsite import live

routes: list[Route] = [Route("/admin/live/feed", live.changes, methods=["GET"])]
