"""The working folders of `process` children on this host, and letting go of those whose session has long been over.

A child may have left anything in its folder: links to elsewhere, folders that nobody may write to. Nothing outside is
ever touched: every step goes by descriptors, below the folder `<data>/work`, and follows no link.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID, uuid4

from django.conf import settings
from django.db.models import QuerySet

from core.db.clock import later
from ledger import sweep_batch, unit_of_work
from ledger.sweep_batch import Work
from orchestration import runners
from orchestration.models import Session
from orchestration.sessions import transitions
from orchestration.states import TERMINAL

MOST = 200
GONE = ".gone-"


def sweep(*, now: datetime | None = None) -> int:
    """Remove the folders of sessions that ended `keep_work_folders_secs` ago, some at a time; how many went.

    1. Under the session's lock, so that no retry begins meanwhile, its folder is renamed: a next attempt makes itself
    a new one. 2. What was renamed is removed, also what an earlier round could not finish.
    """
    try:
        top = os.open(runners.work_folder(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        work = Work("housekeeping", "work folders")
        sweep_batch.each(work, lambda most: _long_over(top, now), lambda session_id: _put_aside(top, session_id, now))
        return sum(_remove(top, name) for name in os.listdir(top) if name.startswith(GONE))
    finally:
        os.close(top)


def _long_over(top: int, now: datetime | None) -> list[UUID]:
    here = list(_named(top))
    found: list[UUID] = []
    for start in range(0, len(here), MOST):
        found += _ended(now).filter(pk__in=here[start : start + MOST]).values_list("pk", flat=True)
        if len(found) >= MOST:
            break
    return found[:MOST]


def _named(top: int) -> Iterator[UUID]:
    """Real folders whose name is a session's id, as we write one."""
    with os.scandir(top) as entries:
        for entry in entries:
            with contextlib.suppress(ValueError):
                named = UUID(entry.name)
                if str(named) == entry.name and entry.is_dir(follow_symlinks=False):
                    yield named


def _ended(now: datetime | None) -> QuerySet[Session]:
    old = later(-settings.WARDROOM["keep_work_folders_secs"], now)
    return Session.objects.filter(status__in=sorted(TERMINAL), finished_at__lt=old)


def _put_aside(top: int, session_id: UUID, now: datetime | None) -> int:
    with unit_of_work.transaction():
        transitions.lock(session_id)
        if _ended(now).filter(pk=session_id).exists():
            with contextlib.suppress(OSError):
                os.rename(str(session_id), f"{GONE}{session_id}", src_dir_fd=top, dst_dir_fd=top)
                return 1
    return 0


def _remove(top: int, name: str) -> int:
    """Whether it went. A folder in it is put beside it first, so that no depth is too deep for a stack or a path.

    What cannot be removed stays for the next round. What a child made unwritable is made writable first.
    """
    waiting = [name]
    while waiting:
        here = waiting.pop()
        with contextlib.suppress(OSError):
            waiting += _emptied(top, here)
            os.rmdir(here, dir_fd=top)
    return int(name not in os.listdir(top))


def _emptied(top: int, name: str) -> list[str]:
    """Remove its files, put its folders beside it; their new names."""
    beside = []
    with _opened(top, name) as folder:
        for each in os.listdir(folder):
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(os.stat(each, dir_fd=folder, follow_symlinks=False).st_mode):
                    with _opened(folder, each):  # A folder that may not be written to cannot be moved.
                        pass
                    os.rename(each, new := f"{GONE}{uuid4()}", src_dir_fd=folder, dst_dir_fd=top)
                    beside.append(new)
                else:
                    os.unlink(each, dir_fd=folder)
    return beside


@contextlib.contextmanager
def _opened(parent: int, name: str) -> Iterator[int]:
    """A folder, made writable."""
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        os.fchmod(folder, 0o700)
        yield folder
    finally:
        os.close(folder)
