"""A passing fault is told from a bug, for every library."""

from __future__ import annotations

import errno
import sqlite3

import psycopg
import psycopg_pool
import pytest
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, ProgrammingError

from core.db import outages
from core.web import problems


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def sqlite(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("whatever the text")
    error.sqlite_errorcode = code
    return error


PASSES = [
    caused(OperationalError(), sqlite(sqlite3.SQLITE_BUSY)),
    caused(OperationalError(), sqlite(sqlite3.SQLITE_IOERR_SHMSIZE)),
    caused(DatabaseError(), sqlite(sqlite3.SQLITE_FULL)),
    caused(OperationalError(), sqlite(sqlite3.SQLITE_CANTOPEN)),
    caused(OperationalError(), psycopg.errors.DiskFull()),
    caused(OperationalError(), psycopg.errors.TooManyConnections()),
    caused(OperationalError(), psycopg.errors.LockNotAvailable()),
    caused(OperationalError(), psycopg_pool.PoolTimeout()),
    caused(DatabaseError(), psycopg.errors.ReadOnlySqlTransaction()),
    OperationalError("the connection is lost"),
    InterfaceError("the connection is closed"),
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ENOSPC, "No space left on device"),
    MemoryError(),
    RuntimeError("can't start new thread"),
]
BUGS = [
    caused(OperationalError("no such column"), sqlite(sqlite3.SQLITE_ERROR)),
    caused(IntegrityError(), sqlite(sqlite3.SQLITE_CONSTRAINT)),
    caused(ProgrammingError(), psycopg.errors.UndefinedColumn()),
    caused(OperationalError(), psycopg.errors.ProgramLimitExceeded()),
    IntegrityError("by hand"),
    OSError(errno.ENOENT, "No such file"),
    RuntimeError("another"),
    KeyError("x"),
]


@pytest.mark.parametrize("error", PASSES, ids=repr)
def test_a_fault_that_passes_is_a_503_that_asks_for_patience(error: Exception) -> None:
    problem = problems.as_problem(error)
    assert problem is not None
    assert (problem.status, problem.type, problem.headers["Retry-After"]) == (503, "unavailable", "5")
    assert outages.noted(60) == outages.reason(error)


@pytest.mark.parametrize("error", BUGS, ids=repr)
def test_a_bug_is_none(error: Exception) -> None:
    assert outages.reason(error) == ""
    assert problems.as_problem(error) is None
