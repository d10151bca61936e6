"""Remove the working folders of `process` children on this host after their sessions ended long ago.

A child may leave anything in its folder: links to other places, folders without write permission. Nothing outside is
touched: every step uses descriptors below the folder `<data>/work` and follows no link.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from uuid import UUID, uuid4

from django.db.models import QuerySet

from core.db.clock import later
from core.limits import LIMITS
from ledger import sweep_batch, unit_of_work
from ledger.sweep_batch import Work
from orchestration.models import Session
from orchestration.runners import process
from orchestration.sessions import transitions
from orchestration.states import TERMINAL

MOST = 200
GONE = ".gone-"


def sweep() -> int:
    """Remove some folders of sessions that ended `keep_work_folders_secs` ago, and return the number removed.

    1. Rename the folder under the session's lock, so that no retry begins meanwhile. The next attempt makes a new
       folder.
    2. Remove the renamed folders, including those that an earlier round could not finish.
    """
    try:
        top = os.open(process.work_folder(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return 0

    def put_aside(session_id: UUID) -> int:
        with unit_of_work.transaction():
            transitions.lock(session_id)
            if _ended().filter(pk=session_id).exists():
                with contextlib.suppress(OSError):
                    os.rename(str(session_id), f"{GONE}{session_id}", src_dir_fd=top, dst_dir_fd=top)
                    return 1
        return 0

    try:
        sweep_batch.each(Work("retention_sweep", "work folders"), lambda most: _long_over(top), put_aside)
        return sum(_remove(top, name) for name in os.listdir(top) if name.startswith(GONE))
    finally:
        os.close(top)


def _long_over(top: int) -> list[UUID]:
    """Return the sessions that ended long ago and have a real folder, named by their id in canonical form."""
    here: list[UUID] = []
    with os.scandir(top) as entries:
        for entry in entries:
            with contextlib.suppress(ValueError):
                named = UUID(entry.name)
                if str(named) == entry.name and entry.is_dir(follow_symlinks=False):
                    here.append(named)
    found: list[UUID] = []
    for start in range(0, len(here), MOST):
        found += _ended().filter(pk__in=here[start : start + MOST]).values_list("pk", flat=True)
        if len(found) >= MOST:
            break
    return found[:MOST]


def _ended() -> QuerySet[Session]:
    old = later(-LIMITS.keep_work_folders_secs)
    return Session.objects.filter(status__in=sorted(TERMINAL), finished_at__lt=old)


def _remove(top: int, name: str) -> int:
    """Remove one folder, and return 1 when it is gone. Leave a remainder for the next round.

    Move each inner folder beside it first, so that no depth exceeds the stack or the limit of a path. Make unwritable
    folders writable first.
    """
    waiting = [name]
    while waiting:
        here = waiting.pop()
        with contextlib.suppress(OSError):
            waiting += _emptied(top, here)
            os.rmdir(here, dir_fd=top)
    return int(name not in os.listdir(top))


def _emptied(top: int, name: str) -> list[str]:
    """Remove the folder's files, move its folders beside it, and return their new names."""
    beside = []
    with _opened(top, name) as folder:
        for each in os.listdir(folder):
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(os.stat(each, dir_fd=folder, follow_symlinks=False).st_mode):
                    with _opened(folder, each):  # A folder without write permission cannot be moved.
                        pass
                    os.rename(each, new := f"{GONE}{uuid4()}", src_dir_fd=folder, dst_dir_fd=top)
                    beside.append(new)
                else:
                    os.unlink(each, dir_fd=folder)
    return beside


@contextlib.contextmanager
def _opened(parent: int, name: str) -> Iterator[int]:
    """Open a folder and make it writable."""
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        os.fchmod(folder, 0o700)
        yield folder
    finally:
        os.close(folder)
