"""Put the originals back into an edited display copy.

A placeholder stands for the value at its own place, and nowhere else. After the edit each value must be hidden again: a
person who may not see a secret cannot move it to a field that is shown.
"""

from __future__ import annotations

from typing import Any

from core.display.redaction import Copy, Path, json_copy
from core.display.secret_patterns import PLACEHOLDER

NO_FIELD = "holds a placeholder that stands for no hidden value of this field"
IN_VIEW = "would put a hidden value in view: leave its surroundings as they are, or replace it"


class CannotRestore(Exception):
    """`wrong` are the paths of the edited values with a placeholder that cannot be replaced, each with the reason."""

    def __init__(self, wrong: list[tuple[Path, str]]) -> None:
        super().__init__(f"{len(wrong)} placeholders cannot be replaced")
        self.wrong = wrong


def restored(edited: Any, original: Any) -> Any:
    """Return the edited value with each placeholder replaced by the original at the same place. Raises CannotRestore.

    Without placeholders it is the edited value itself.
    """
    if not _holds_placeholder(edited):
        return edited
    work = _Restoring(json_copy(original))
    value = work.of(edited, ())
    if not work.wrong:
        work.check_hidden(value)
    if work.wrong:
        raise CannotRestore(work.wrong)
    return value


class _Restoring:
    def __init__(self, copy: Copy) -> None:
        self.wrong: list[tuple[Path, str]] = []
        self._copy = copy
        self._hidden = {(each.path, each.number): each for each in copy.hidden}
        # Parts of texts that were put back: path, start, end.
        self._back: list[tuple[Path, int, int]] = []

    def of(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            found: dict[str, Any] = {}
            for name, each in value.items():
                own: Any = self._copy.names.get((path, name), name)
                if own is name and PLACEHOLDER.search(name):
                    self.wrong.append(((*path, name), NO_FIELD))
                found[own] = self.of(each, (*path, own))
            return found
        if isinstance(value, list):
            items = []
            for index, each in enumerate(value):
                items.append(self.of(each, (*path, index)))
            return items
        return self._text(value, path) if isinstance(value, str) else value

    def check_hidden(self, value: Any) -> None:
        """Note each value that was put back and is not hidden where it is now."""
        covered: dict[Path, list[tuple[int, int | None]]] = {}
        for each in json_copy(value).hidden:
            covered.setdefault(each.path, []).append((each.start or 0, each.end))
        for path, start, end in self._back:
            if not any(at <= start and (to is None or end <= to) for at, to in covered.get(path, [])):
                self.wrong.append((path, IN_VIEW))

    def _text(self, text: str, path: Path) -> Any:
        parts: list[str] = []
        at = size = 0
        for found in PLACEHOLDER.finditer(text):
            number = found.group()[len("[redacted") : -1].strip()
            each = self._hidden.get((path, int(number))) if number else None
            is_whole = found.span() == (0, len(text))
            if each is None or not (is_whole or isinstance(each.secret, str)):
                self.wrong.append((path, NO_FIELD))
                return text
            if is_whole and not isinstance(each.secret, str):
                self._back.append((path, 0, 0))
                return each.secret
            parts += [text[at : found.start()], each.secret]
            size += found.start() - at
            self._back.append((path, size, size + len(each.secret)))
            size += len(each.secret)
            at = found.end()
        return "".join([*parts, text[at:]])


def _holds_placeholder(value: Any) -> bool:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str) and "[redacted" in each and PLACEHOLDER.search(each):
            return True
        if isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list):
            waiting += each
    return False
