"""Distinguish an outage of the machine or the database, which passes, from a bug, which does not.

An outage is a full disk, a held write lock, a database that is away or takes no more connections, or a process that is
out of files or threads. The call itself is valid, so its caller is asked to try again.
"""

from __future__ import annotations

import errno
import sqlite3
import time

from django.db import Error, InterfaceError, OperationalError

#: SQLite's primary result codes, with their meaning for operators.
SQLITE = {
    sqlite3.SQLITE_BUSY: "another process holds the write lock of the database",
    sqlite3.SQLITE_LOCKED: "another connection holds a lock of the database",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_READONLY: "the database is read-only",
    sqlite3.SQLITE_IOERR: "the disk of the database cannot be read or written",
    sqlite3.SQLITE_CORRUPT: "the database file is damaged",
    sqlite3.SQLITE_FULL: "the disk of the database is full",
    sqlite3.SQLITE_CANTOPEN: "the database file cannot be opened",
    sqlite3.SQLITE_PROTOCOL: "the database file cannot be locked",
    sqlite3.SQLITE_NOTADB: "the database file is damaged",
}
ERRNO = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file is at its size limit",
    errno.EIO: "the disk cannot be read or written",
    errno.EROFS: "the disk is read-only",
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "this machine has too many open files",
    errno.ENOMEM: "out of memory",
    errno.EAGAIN: "out of threads or processes",
}
#: PostgreSQL: the server became a standby. psycopg does not call this operational.
READ_ONLY = "25006"
#: PostgreSQL: a lock was not granted within `lock_timeout`.
LOCKED = "55P03"
#: SQLSTATE classes about the statement and its values, though psycopg calls some of them operational.
OF_THE_STATEMENT = ("22", "23", "54")
AWAY = "the database does not answer"
_latest: tuple[str, float] = ("", 0.0)


def note(what: str) -> None:
    """Record an outage that a call has met, for `/readyz`."""
    global _latest
    _latest = (what, time.monotonic())


def noted(within_secs: float) -> str:
    """Return the latest outage that this process met within `within_secs`, or an empty text."""
    what, at = _latest
    return what if time.monotonic() - at < within_secs else ""


def reason(error: BaseException) -> str:
    """Return the outage that an exception means, in public words, or an empty text for a bug."""
    if isinstance(error, OSError):
        return ERRNO.get(error.errno or 0, "")
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "out of threads"
    if not isinstance(error, Error):
        return ""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        # A plain SQLITE_ERROR means that the statement does not fit the tables.
        return SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF, "")
    state = getattr(cause, "sqlstate", None) or ""
    if state == READ_ONLY:
        return "the database is read-only"
    if state == LOCKED:
        return "another transaction holds a lock of the database"
    if state.startswith("53"):
        full = {"53100": "the disk of the database is full", "53300": "the database takes no more connections"}
        return full.get(state, "the database lacks memory or disk")
    if state.startswith(OF_THE_STATEMENT) or not isinstance(error, OperationalError | InterfaceError):
        return ""
    return AWAY
