"""The audit chain: the hash of a row, equal in the server and in an offline check, and that check."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from wardroom import strict
from wardroom.jcs import CanonicalError, canonical

#: The `previous_hash` of the first row of a chain.
START = "0" * 64
HASHED = ("number", "at", "actor", "action", "subject", "detail", "previous_hash")
#: The most bytes of one line. A row is far shorter.
LONGEST_LINE = 4 * 1024 * 1024


class NotVerified(Exception):
    """The text gives the reason, and the first row that is wrong."""


def check(lines: Iterable[bytes], *, head: str = "") -> tuple[int, str]:
    """Check every line of `GET audit?format=jsonl`. Return the number and the hash of the last row.

    With `head`, a hash that was noted earlier, that row must be part of the chain. Raises NotVerified.
    """
    project, number, previous = "", 0, START
    end: dict[str, Any] | None = None
    found_head = not head or head == START
    for place, line in enumerate(lines, 1):
        value = _object(line, f"line {place}")
        if place == 1:
            project = str(value.get("project", ""))
            if set(value) != {"project"}:
                raise NotVerified("line 1 does not name the project: this is no export of an audit chain")
            continue
        if end is not None:
            raise NotVerified(f"line {place}: rows follow the head of the chain")
        if "head" in value:
            end = value["head"]
            continue
        number += 1
        previous = _hash_of(value, number, previous, project)
        found_head = found_head or previous == head
    if end is None:
        raise NotVerified(f"the file ends after row {number} without the head: it is not whole")
    if end != {"number": number, "hash": previous}:
        raise NotVerified(f"rows are missing at the end: the head is at {end}")
    if not found_head:
        raise NotVerified(f"no row has the hash {head}: this is another chain, or it was rewritten")
    return number, previous


def _hash_of(row: dict[str, Any], number: int, previous: str, project: str) -> str:
    """Return the hash of row `number`, or raise NotVerified if it is another row, or an altered one."""
    if row.get("number") != number:
        raise NotVerified(f"row {number} is missing; found {row.get('number')}")
    if row.get("previous_hash") != previous:
        raise NotVerified(f"row {number} does not follow the row before it")
    try:
        found = row_hash(project, {**row, "detail": canonical(row["detail"])})
    except (KeyError, CanonicalError) as problem:
        raise NotVerified(f"row {number} cannot be hashed: {problem}") from None
    if row.get("hash") != found:
        raise NotVerified(f"row {number} was altered")
    return found


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = strict.loads(line, max_bytes=LONGEST_LINE)
    except strict.StrictJSONError as problem:
        raise NotVerified(f"{where} is no strict JSON: {problem}") from None
    if not isinstance(value, dict):
        raise NotVerified(f"{where} is no object")
    return value


def row_hash(project: str, row: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the RFC 8785 JSON of a row, including the hash of the row before it.

    `detail` is the stored canonical text, not an object.
    """
    text = canonical({"project": project, **{name: row[name] for name in HASHED}})
    return hashlib.sha256(text.encode()).hexdigest()
