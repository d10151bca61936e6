"""Which web processes are alive: one lease for each, renewed by a thread of its own.

The thread, not the event loop, renews it: a loop that is busy for a while must not make the process's children look
lost. A socket has no lease; it is live while its process's lease is.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from datetime import datetime
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connections
from django.db.models import Q

from core.db.clock import database_now, later
from orchestration.models import WebProcess

log = logging.getLogger(__name__)


class Lease:
    """This process's row, and the thread that keeps it fresh."""

    def __init__(self, interval: float) -> None:
        self.id = uuid4()
        self.pid = os.getpid()
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def begin(self) -> None:
        """Renew it now, and from now on."""
        self._thread.start()

    def end(self) -> None:
        """Stop renewing: from now on the lease runs out by itself."""
        self._ended.set()
        self._thread.join(timeout=self._interval + 1)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                renew(self.id)
            except Exception:
                # Whatever it is, the next round may do better; a thread that ends would lose every line of ours.
                log.warning("the lease of this web process could not be renewed", exc_info=True)
            finally:
                connections.close_all()
            self._ended.wait(self._interval)


_lease: Lease | None = None
_guard = threading.Lock()


def begin() -> Lease:
    """This process's lease, which begins with the first call, without waiting for the database."""
    global _lease
    with _guard:
        if _lease is None or _lease.pid != os.getpid():
            _lease = Lease(settings.WARDROOM["heartbeat_secs"])
            _lease.begin()
        return _lease


def end() -> None:
    """This process holds no line any more."""
    global _lease
    with _guard:
        if _lease is not None:
            _lease.end()
        _lease = None


def current() -> UUID:
    """The id of this web process, with a heartbeat of this moment: whoever takes a line here finds its row."""
    lease = begin()
    renew(lease.id)
    return lease.id


def renew(process: UUID, *, now: datetime | None = None) -> None:
    """One heartbeat; the row is written again if it was cleaned away meanwhile."""
    if not WebProcess.objects.filter(pk=process).update(heartbeat_at=database_now(now)):
        # Our thread and a child that connects may both find it missing.
        row = WebProcess(id=process, host=socket.gethostname(), pid=os.getpid(), heartbeat_at=database_now(now))
        WebProcess.objects.bulk_create([row], ignore_conflicts=True)


def is_live(prefix: str = "", *, now: datetime | None = None) -> Q:
    """The filter for attempts whose line is live; `prefix` leads from another model to the attempt ("attempts__")."""
    fresh = later(-settings.WARDROOM["heartbeat_lease_secs"], now)
    return Q(
        **{
            f"{prefix}ended_at__isnull": True,
            f"{prefix}line_lost_at__isnull": True,
            f"{prefix}web_process__heartbeat_at__gt": fresh,
        }
    )
