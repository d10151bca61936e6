"""Redact log lines: no token is written, and no control character of an agent's text reaches a terminal."""

from __future__ import annotations

import logging
import re

TOKEN = re.compile(r"(wr_(?:key|child|pool)_[a-z0-9]+)_[A-Za-z0-9_-]+|(bearer\.)[A-Za-z0-9_.-]+", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def redacted(text: str) -> str:
    """Return the text with the secret of each token removed. The token's kind and id stay."""
    return TOKEN.sub(lambda found: (found.group(1) or found.group(2)) + "_[redacted]", text)


class TokenFilter(logging.Filter):
    """Redacts each message before a formatter sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place. Never drop it."""
        # Indent the later lines, so that a line inside an agent's text cannot pass for a log line of ours.
        record.msg, record.args = redacted(record.getMessage()).replace("\n", "\n    "), None
        return True


class LineFormatter(logging.Formatter):
    """Also redacts tracebacks, and escapes control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record as text."""

        def escape(found: re.Match[str]) -> str:
            sign = ord(found.group())
            return f"\\x{sign:02x}" if sign < 256 else f"\\u{sign:04x}"

        return CONTROL.sub(escape, redacted(super().format(record)))
