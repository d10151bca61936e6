"""The leases of live web processes: one for each, renewed by its own thread.

A thread renews it, not the event loop, because a busy loop must not make the children of the process look lost. A
socket has no lease: it is live while the lease of its process is.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from uuid import UUID, uuid4

from django.db import connections
from django.db.models import Q

from core.db.clock import database_now, later
from core.limits import LIMITS
from orchestration.models import WebProcess

log = logging.getLogger(__name__)


class Lease:
    """The row of this process, and the thread that renews it."""

    def __init__(self, interval: float) -> None:
        self.id = uuid4()
        self.pid = os.getpid()
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def begin(self) -> None:
        """Start to renew the lease, now and at each interval."""
        self._thread.start()

    def end(self) -> None:
        """Stop to renew the lease, so that it expires."""
        self._ended.set()
        self._thread.join(timeout=self._interval + 1)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                renew(self.id)
            except Exception:
                # The next round may succeed. If this thread ended, every connection of this process would be lost.
                log.warning("the lease of this web process could not be renewed", exc_info=True)
            finally:
                connections.close_all()
            self._ended.wait(self._interval)


_lease: Lease | None = None
_guard = threading.Lock()


def begin() -> Lease:
    """Return this process's lease. The first call starts it, without waiting for the database."""
    global _lease
    with _guard:
        if _lease is None or _lease.pid != os.getpid():
            _lease = Lease(LIMITS.heartbeat_secs)
            _lease.begin()
        return _lease


def end() -> None:
    """End this process's lease. The process holds no connection any more."""
    global _lease
    with _guard:
        if _lease is not None:
            _lease.end()
        _lease = None


def current() -> UUID:
    """Return the id of this web process after a heartbeat, so that a new connection finds a fresh row."""
    lease = begin()
    renew(lease.id)
    return lease.id


def renew(process: UUID) -> None:
    """Write one heartbeat. Insert the row again if retention has deleted it meanwhile."""
    if not WebProcess.objects.filter(pk=process).update(heartbeat_at=database_now()):
        # The renewing thread and a connecting child may both insert it.
        row = WebProcess(id=process, host=socket.gethostname(), pid=os.getpid(), heartbeat_at=database_now())
        WebProcess.objects.bulk_create([row], ignore_conflicts=True)


def is_live(prefix: str = "") -> Q:
    """Return a filter for attempts with a live connection. `prefix` is the path from another model ("attempts__")."""
    fresh = later(-LIMITS.heartbeat_lease_secs)
    return Q(
        **{
            f"{prefix}ended_at__isnull": True,
            f"{prefix}connection_lost_at__isnull": True,
            f"{prefix}web_process__heartbeat_at__gt": fresh,
        }
    )
