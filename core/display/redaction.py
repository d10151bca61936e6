"""Logs: no token is ever written, and no control character of an agent's text reaches a terminal."""

from __future__ import annotations

import logging
import re

TOKEN = re.compile(r"(wr_(?:key|child|pool)_[a-z0-9]+)_[A-Za-z0-9_-]+|(bearer\.)[A-Za-z0-9_.-]+", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def redacted(text: str) -> str:
    """Keep a token's kind and id, drop its secret."""
    return TOKEN.sub(lambda found: (found.group(1) or found.group(2)) + "_[redacted]", text)


class TokenFilter(logging.Filter):
    """Redacts the message before any formatter sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; never drop it."""
        # A line that an agent's text begins is never taken for one of ours: it is indented.
        record.msg, record.args = redacted(record.getMessage()).replace("\n", "\n    "), None
        return True


class LineFormatter(logging.Formatter):
    """Also redacts tracebacks, and escapes control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        return CONTROL.sub(lambda found: _escape(found.group()), redacted(super().format(record)))


def _escape(sign: str) -> str:
    return f"\\x{ord(sign):02x}" if ord(sign) < 256 else f"\\u{ord(sign):04x}"
