"""Log a refused call at INFO. It is the answer that its caller needs, and no fault of this server."""

from __future__ import annotations

import logging


class RefusalFilter(logging.Filter):
    """Lowers the lines of `django.request` about answers 4xx, which Django logs as warnings."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place. Drop it where INFO is not logged."""
        if not 400 <= getattr(record, "status_code", 0) < 500:
            return True
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        # The logger has compared the level of before, and Django gives its own loggers INFO: LOG_LEVEL is the root's.
        return logging.getLogger().isEnabledFor(logging.INFO)
