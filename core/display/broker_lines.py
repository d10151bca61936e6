"""Log a lost broker in one line. Its traceback goes through two libraries and tells nothing more."""

from __future__ import annotations

import logging

#: The loggers of the consumer, of beat and of the transport. A task's own failure is logged by `celery.app.trace`.
LOGGERS = ("celery.worker", "celery.beat", "kombu")
LIBRARIES = ("redis", "kombu", "amqp")


class BrokerFilter(logging.Filter):
    """Removes the traceback of a lost connection to the broker from a line of Celery."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place. Never drop it."""
        error = record.exc_info[1] if record.exc_info else None
        if record.name.startswith(LOGGERS) and is_away(error):
            record.exc_info = record.exc_text = None
        return True


def is_away(error: BaseException | None) -> bool:
    """Return True if the exception means that the broker does not answer."""
    # By name: a process without a broker must not import its libraries for a log line.
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or (
        library in LIBRARIES and type(error).__name__.endswith(("ConnectionError", "OperationalError", "TimeoutError"))
    )
