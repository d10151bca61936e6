"""Is this process up, and does everything behind it answer?

`/healthz` says that this process turns its event loop; it looks at nothing else, because restarting a web process
mends neither a database nor a broker. `/readyz` looks at each part with a deadline. Both are answered before
Django, so that a probe needs no Host name of ours and no HTTPS.
"""

import asyncio
import functools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import close_old_connections, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Max
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from core.db import outages
from core.db.clock import read_database_clock
from ledger import health as ledger_health
from ledger import wakeups
from ledger.models import Sweep
from ledger.outages import STEP_SECS
from server.front import pressure

#: Parts that a process can do without for a while.
DEGRADES = {"beat", "front", "sweeps", "writes"}
LOOK_SECS = 4.0
#: For SQLite's write lock; less than a look may take.
WRITE_LOCK_MS = 2000
#: A part is not ok for so long after a call has met an outage.
OUTAGE_SECS = 10.0
# A crowd of probes costs one look a second.
FRESH_SECS = 1.0

Part = dict[str, Any]


async def healthz(request: Request) -> JSONResponse:
    """200 from any process whose event loop turns."""
    return JSONResponse({"status": "ok"}, headers=NO_STORE)


async def readyz(request: Request) -> JSONResponse:
    """200 when the database, its migrations, the broker and the hub answer; else 503. Each part by name.

    Other parts only make the status `degraded`: a web process can do work of its own without them.
    """
    parts = await _look_once()
    refused = pressure.recent()
    parts["front"] = {"ok": not refused, **({"refused": refused} if refused else {})}
    ready = all(part["ok"] for name, part in parts.items() if name not in DEGRADES)
    status = "unavailable" if not ready else "ok" if all(part["ok"] for part in parts.values()) else "degraded"
    return JSONResponse({"status": status, "parts": parts}, status_code=200 if ready else 503, headers=NO_STORE)


NO_STORE = {"Cache-Control": "no-store"}
routes = [Route("/healthz", healthz), Route("/readyz", readyz)]

_latest: tuple[float, dict[str, Part]] = (-FRESH_SECS, {})
_looking: asyncio.Task[dict[str, Part]] | None = None


async def _look_once() -> dict[str, Part]:
    """What every part says, at most a second old; requests that come together share one look."""
    global _looking
    if time.monotonic() - _latest[0] < FRESH_SECS:
        return _latest[1]
    if _looking is None or _looking.done():
        _looking = asyncio.create_task(_look())
    return await asyncio.shield(_looking)


async def _look() -> dict[str, Part]:
    global _latest
    answers = await asyncio.gather(*(_bounded(check) for check in CHECKS.values()))
    parts = dict(zip(CHECKS, answers, strict=True))
    _latest = (time.monotonic(), parts)
    return parts


async def _bounded(check: Callable[[], Part]) -> Part:
    loop = asyncio.get_running_loop()
    try:
        return await asyncio.wait_for(loop.run_in_executor(_threads(os.getpid()), _clean, check), LOOK_SECS)
    except TimeoutError:
        return {"ok": False, "error": f"no answer in {LOOK_SECS:g} s"}


@functools.cache
def _threads(pid: int) -> ThreadPoolExecutor:
    # Not the verbs' pool: a part that hangs must not keep work waiting, and a full pool is not a dead database.
    return ThreadPoolExecutor(max_workers=2 * len(CHECKS), thread_name_prefix="health")


def _clean(check: Callable[[], Part]) -> Part:
    """What a check says; whatever goes wrong in it is its answer, in words that anybody may read."""
    close_old_connections()
    try:
        return {"ok": True} | check()
    except Exception as broken:
        return {"ok": False, "error": outages.reason(broken) or type(broken).__name__}
    finally:
        close_old_connections()


def database() -> Part:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return {}


def migrations() -> Part:
    """Whether the database has every migration that this code has; once it has, it will not lose any."""
    if not _migrated.get(connection.alias):
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        _migrated[connection.alias] = not missing
        if missing:
            return {"ok": False, "error": f"{len(missing)} to apply"}
    return {}


_migrated: dict[str, bool] = {}


def writes() -> Part:
    """Whether a row can be written now, and whether a call has met an outage within the last seconds."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {WRITE_LOCK_MS}")
        with transaction.atomic(), connection.cursor() as cursor:
            # A row is written as it is: that needs the write lock and the disk, and changes nothing.
            cursor.execute(
                "UPDATE django_migrations SET name = name WHERE id = (SELECT min(id) FROM django_migrations)"
            )
    else:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_is_in_recovery()")
            if cursor.fetchone() == (True,):
                return {"ok": False, "error": "the database is read-only"}
    met = outages.noted(OUTAGE_SECS)
    return {"ok": False, "error": met} if met else {}


def broker() -> Part:
    with current_app.connection_for_write(connect_timeout=2) as line:
        line.ensure_connection(max_retries=1, interval_start=0, timeout=2)
    return {}


def hub() -> Part:
    wakeups.ping()
    return {}


def beat() -> Part:
    """How long ago a beat job last ended: beat sent it, the broker carried it and a worker did it.

    A negative age is an alarm as well: the clock was set back, and this job has not run since.
    """
    scheduled = Sweep.objects.filter(
        ledger_health.readable("finished_at"), name__in=list(settings.CELERY_BEAT_SCHEDULE)
    )
    latest = scheduled.aggregate(latest=Max("finished_at"))["latest"]
    if latest is None:
        return {"ok": False, "age_secs": None, "error": "no beat job has run yet"}
    age = round((read_database_clock() - latest).total_seconds(), 1)
    if age < -STEP_SECS:
        return {"ok": False, "age_secs": age, "error": "the last run lies in the future: the clock was set back"}
    return {"ok": age < settings.WARDROOM["beat_stale_secs"], "age_secs": max(0.0, age)}


def sweeps() -> Part:
    """Every job of the schedule does its work, on time, on every row. Only names and numbers: anybody may ask."""
    found = ledger_health.trouble()
    return {"ok": False, "trouble": found} if found else {}


CHECKS: dict[str, Callable[[], Part]] = {
    "database": database,
    "migrations": migrations,
    "writes": writes,
    "broker": broker,
    "hub": hub,
    "beat": beat,
    "sweeps": sweeps,
}
