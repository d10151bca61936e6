"""Is this process up, and may it be sent work?"""

from __future__ import annotations

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from ledger import nudges


def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers. Never looks at a database or a broker: a restart would not mend those."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database is migrated and the hub answers, else 503 with each part's state."""
    parts = {"database": _database(), "hub": _hub()}
    ready = all(state == "ok" for state in parts.values())
    return JsonResponse({"status": "ok" if ready else "unavailable", "parts": parts}, status=200 if ready else 503)


def _database() -> str:
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Exception as broken:
        return type(broken).__name__
    return "migrations are missing" if waiting else "ok"


def _hub() -> str:
    try:
        nudges.ping()
    except Exception as broken:
        return type(broken).__name__
    return "ok"
