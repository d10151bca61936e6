"""Redact display copies: secrets and tokens are not shown, and no control character of an agent reaches a terminal.

Only copies change. The stored value and its digest stay as they are. A field is hidden by its name (`password`), a part
of a text by its form (`Bearer ...`); see `core.display.secret_patterns`. `WARDROOM_REDACTION` changes both.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from core.display import configured_redaction
from core.display.configured_redaction import Rules
from core.display.secret_patterns import LONGEST_NAME, Pattern, compact, is_secret_name, merged

#: Characters that move a cursor, reorder or hide text in a terminal. Newline and tab are left, for tracebacks.
CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u061c\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ue000-\uf8ff"
    "\ufeff\ufff9-\ufffb\U000e0000-\U0010ffff]"
)
#: No pattern finds a secret in a shorter text.
SHORTEST = 7
#: Members of an event that hold a tool's arguments: their fields have names of the tool.
ARGUMENTS = frozenset({
    "args", "arguments", "env", "environment", "headers", "input", "kwargs", "parameters", "params", "toolargs",
    "toolarguments", "toolinput",
})  # fmt: skip
#: The last step of the path of a member's name.
NAME = object()
#: A member's name in JSON. A backslash before it or in it: it may have another name than it seems.
_MEMBER = re.compile(r'(\\?)"([^"]+)"\s*:')
_NAMED = ("name", "key", "header", "Name", "Key")
#: A label in JSON, which names the `value` beside it.
_LABEL = re.compile(rf'"(?:{"|".join(_NAMED)})"\s*:\s*"([^"]*)"')

Path = tuple[Any, ...]


class Hidden(NamedTuple):
    """One hidden value of a JSON value: its number, its place and the value. Without a `start` the whole value is.

    `why` is `name`, or the pattern's name.
    """

    number: int
    path: Path
    start: int | None
    end: int | None
    secret: Any
    why: str


def redacted(text: str) -> str:
    """Return the text without its secrets. A Wardroom token keeps its kind and id."""
    found = _spans(text)
    if not found:
        return text
    parts, at = [], 0
    for start, end, _ in found:
        parts += [text[at:start], "[redacted]"]
        at = end
    return "".join([*parts, text[at:]])


def json_copy(value: Any) -> Copy:
    """Return a copy of a tool's arguments. Each hidden value is replaced by `[redacted <number>]`."""
    copy = Copy()
    copy.shown = copy.of(value, (), is_named=True)
    return copy


def event_json(text: str) -> str:
    """Return the JSON text of an event's payload without secrets: by form everywhere, by name in a tool's arguments."""
    candidates, names = _suspected(text)
    if not candidates and not names:
        return text
    copy = Copy()
    shown = copy.of(json.loads(text), (), is_named=False)
    return msgspec.json.encode(shown).decode() if copy.hidden else text


def event_copy(value: Any) -> Any:
    """Return a copy of an event's payload, a message or another JSON value of a program, as `event_json` does."""
    return Copy().of(value, (), is_named=False)


def is_clean(text: str) -> bool:
    """Return True when this JSON text surely holds no secret. It is a fast check: False says only that it may."""
    candidates, names = _suspected(text)
    return not candidates and not names


def _suspected(text: str) -> tuple[tuple[Pattern, ...], bool]:
    """Return the patterns that may find something in a JSON text, and whether a field may be hidden by its name."""
    names = (found[1] or "\\" in found[2] or is_secret(found[2]) for found in _MEMBER.finditer(text))
    labels = ("\\" in found[1] or is_secret(found[1]) for found in _LABEL.finditer(text))
    return _rules.candidates(text), any(names) or any(labels)


def is_secret(name: str) -> bool:
    """Return True when the values of a field of this name are hidden."""
    # The end decides. A long name of an agent must not fill the memory of the names that were looked at.
    return is_secret_name(name[-LONGEST_NAME:], _rules.names, _rules.shown)


def _spans(text: str) -> list[tuple[int, int, str]]:
    """Return the parts to hide, in order, each with the name of a pattern that found it."""
    if len(text) < SHORTEST:
        return []
    found = [(span, each.name) for each in _rules.candidates(text) for span in each.spans(text)]
    if not found:
        return []
    return [
        (start, end, next(name for (at, to), name in found if start <= at < end and to <= end))
        for start, end in merged(span for span, _ in found)
    ]


@dataclass(slots=True)
class Copy:
    """A display copy of a JSON value, and the values that it hides."""

    shown: Any = None
    hidden: list[Hidden] = field(default_factory=list)
    #: (path of the object, shown name) -> the name.
    names: dict[tuple[Path, str], str] = field(default_factory=dict)

    def of(self, value: Any, path: Path, *, is_named: bool, secret: str = "") -> Any:
        """Return the copy of a value. `secret` is the name that hides it. `is_named`: names of fields count here."""
        if isinstance(value, dict):
            return self._object(value, path, is_named, secret)
        if isinstance(value, list):
            copies = []
            for index, each in enumerate(value):
                copies.append(self.of(each, (*path, index), is_named=is_named, secret=secret))
            return copies
        if secret and _is_hidden_by(secret, value):
            return self._hide(path, None, None, value, "name")
        return self._text(value, path) if isinstance(value, str) else value

    def _object(self, value: dict[str, Any], path: Path, is_named: bool, secret: str) -> dict[str, Any]:
        copies: dict[str, Any] = {}
        # `{"name": "Authorization", "value": ...}`: headers and variables are often pairs.
        label = next((value[name] for name in _NAMED if isinstance(value.get(name), str)), "")
        for name, each in value.items():
            here = secret
            if is_named and not secret:
                by_label = label if name.lower() == "value" and is_secret(label) else ""
                here = name if is_secret(name) else by_label
            inner = is_named or compact(name) in ARGUMENTS
            shown_name = self._text(name, (*path, name, NAME))
            if shown_name is not name:
                self.names[path, shown_name] = name
            copies[shown_name] = self.of(each, (*path, name), is_named=inner, secret=here)
        return copies

    def _text(self, text: str, path: Path) -> str:
        found = _spans(text)
        if not found:
            return text
        parts, at = [], 0
        for start, end, why in found:
            parts += [text[at:start], self._hide(path, start, end, text[start:end], why)]
            at = end
        return "".join([*parts, text[at:]])

    def _hide(self, path: Path, start: int | None, end: int | None, secret: Any, why: str) -> str:
        self.hidden.append(Hidden(len(self.hidden) + 1, path, start, end, secret, why))
        return f"[redacted {len(self.hidden)}]"


def _is_hidden_by(name: str, value: Any) -> bool:
    """Return True when a leaf below a field of this name is hidden. Booleans and empty texts say nothing."""
    if isinstance(value, str):
        # `pwd` is a password, and also the working directory.
        return value != "" and not (compact(name) == "pwd" and value.startswith(("/", "~")))
    # `max_tokens` is a number of tokens. A `pin` is a secret number.
    return isinstance(value, int | float) and not isinstance(value, bool) and not compact(name).endswith("tokens")


_rules = Rules()


def load(given: dict[str, Any]) -> None:
    """Set the names and patterns of this process. Only `config.settings` calls it. Raises ImproperlyConfigured."""
    global _rules
    _rules = configured_redaction.checked(given)


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
            if sign > 0xFFFF:
                return f"\\U{sign:08x}"
            return f"\\x{sign:02x}" if sign < 256 else f"\\u{sign:04x}"

        return CONTROL.sub(escape, redacted(super().format(record)))
