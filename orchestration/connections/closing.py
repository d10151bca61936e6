"""The close code and reason for each way in which a connection ends."""

from __future__ import annotations

import logging

from django.db import DatabaseError

from core.db import outages
from orchestration.connections.fencing import ConnectionRejected
from orchestration.connections.transport import CloseConnection
from wardroom.protocol import Close

log = logging.getLogger(__name__)
# The time after which a child should reconnect after a server error.
RETRY_SECS = 2


def close_for(error: Exception) -> CloseConnection:
    """Return the close code and reason for an exception. After a server error the child may reconnect."""
    match error:
        case CloseConnection():
            return error
        case ConnectionRejected():
            return CloseConnection(error.code, error.reason)
        case DatabaseError():
            log.warning("a connection is closed: the database does not answer", exc_info=error)
            return CloseConnection(Close.TRY_AGAIN, f"retry after {RETRY_SECS} seconds: the database does not answer")
    if reason := outages.reason(error):
        log.warning("a connection is closed: %s", reason, exc_info=error)
        return CloseConnection(Close.TRY_AGAIN, f"retry after {RETRY_SECS} seconds: {reason}")
    log.error("a connection is closed after an unexpected error", exc_info=error)
    return CloseConnection(Close.PING_TIMEOUT, f"retry after {RETRY_SECS} seconds: internal error")
