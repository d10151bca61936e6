"""Health checks: is this process up, and do its dependencies answer?

`/healthz` shows that this process runs its event loop. It checks nothing else, because restarting a web process repairs
neither a database nor a broker. `/readyz` checks each part with a deadline. Both are answered before Django, so that a
probe needs neither a known Host name nor HTTPS.
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

from accounts import unreadable
from approvals.models import Approval
from approvals.selectors import waiter_count
from core.db import outages
from core.db.clock import read_database_clock
from core.limits import LIMITS
from ledger import health as ledger_health
from ledger import wakeups
from ledger.models import Sweep
from ledger.outages import STEP_SECS
from orchestration.models import Place
from orchestration.places import turns
from orchestration.states import Runner
from server.front import pressure

#: Parts that a process can miss for a while.
DEGRADES = {"approvals", "beat", "credentials", "front", "places", "sweeps", "writes"}
LOOK_SECS = 4.0
#: Milliseconds to wait for SQLite's write lock; less than the time of one check.
WRITE_LOCK_MS = 2000
#: Seconds for which a part is not ok after a call has met an outage.
OUTAGE_SECS = 10.0
# Many probes cost one check a second.
FRESH_SECS = 1.0

Part = dict[str, Any]


async def healthz(request: Request) -> JSONResponse:
    """Answer 200 from any process with a running event loop."""
    return JSONResponse({"status": "ok"}, headers=NO_STORE)


async def readyz(request: Request) -> JSONResponse:
    """Answer 200 when the database, its migrations, the broker and the hub answer; else 503. Lists each part.

    Other parts only make the status `degraded`: a web process can do useful work without them.
    """
    global _looking
    # Concurrent requests share one check, and its result serves for a second.
    if time.monotonic() - _latest[0] < FRESH_SECS:
        parts = _latest[1]
    else:
        if _looking is None or _looking.done():
            _looking = asyncio.create_task(_look())
        parts = await asyncio.shield(_looking)
    refused = pressure.recent()
    parts["front"] = {"ok": not refused, **({"refused": refused} if refused else {})}
    unread = unreadable.recent()
    parts["credentials"] = {"ok": not unread, **({"unreadable": unread} if unread else {})}
    ready = all(part["ok"] for name, part in parts.items() if name not in DEGRADES)
    status = "unavailable" if not ready else "ok" if all(part["ok"] for part in parts.values()) else "degraded"
    return JSONResponse({"status": status, "parts": parts}, status_code=200 if ready else 503, headers=NO_STORE)


NO_STORE = {"Cache-Control": "no-store"}
routes = [Route("/healthz", healthz), Route("/readyz", readyz)]

_latest: tuple[float, dict[str, Part]] = (-FRESH_SECS, {})
_looking: asyncio.Task[dict[str, Part]] | None = None


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
    # Not the pool of operations: a part that hangs must not block work, and a full pool is not a dead database.
    return ThreadPoolExecutor(max_workers=2 * len(CHECKS), thread_name_prefix="health")


def _clean(check: Callable[[], Part]) -> Part:
    """Return the result of a check. An exception becomes a result in public words."""
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
    """Check that the database has every migration of this code. Once true, it stays true."""
    if not _migrated.get(connection.alias):
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        _migrated[connection.alias] = not missing
        if missing:
            return {"ok": False, "error": f"{len(missing)} to apply"}
    return {}


_migrated: dict[str, bool] = {}


def writes() -> Part:
    """Check that a row can be written now, and that no call has met an outage in the last seconds."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {WRITE_LOCK_MS}")
        with transaction.atomic(), connection.cursor() as cursor:
            # Writing a row unchanged needs the write lock and the disk, and changes nothing.
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
    with current_app.connection_for_write(connect_timeout=2) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=2)
    return {}


def hub() -> Part:
    wakeups.ping()
    return {}


def beat() -> Part:
    """Return the age of the last finished beat job: beat sent it, the broker carried it, and a worker ran it.

    A negative age is an alarm, too: the clock was set back, and this job has not run since.
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
    return {"ok": age < LIMITS.beat_stale_secs, "age_secs": max(0.0, age)}


def approvals() -> Part:
    """Report how many callers and children are blocked until somebody answers. It is never a fault."""
    return {"waiters": waiter_count(Approval.objects.all())}


def places() -> Part:
    """Report the sessions that wait for a place, and the places in use on all hosts. It is never a fault."""
    return {"queued": turns.queued(Runner.PROCESS).count(), "in_use": Place.objects.count()}


def sweeps() -> Part:
    """Check that every scheduled job works on time on every row. The result is public: only names and numbers."""
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
    "approvals": approvals,
    "places": places,
}
