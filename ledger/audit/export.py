"""Read the audit chain by number: as pages, and as a whole in JSON Lines or CSV.

An export of JSON Lines is the whole chain with its head. So it can be verified without the database:
`python -m wardroom.verify audit FILE`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from core.concurrency.threadpool import run_in_threadpool
from ledger.models import AuditEntry, Head
from wardroom.verify.chain import START

#: Rows per query of an export.
AT_ONCE = 500
COLUMNS = ("number", "at", "actor", "action", "subject", "detail", "previous_hash", "hash")
#: A cell that begins so is a formula for a spreadsheet (OWASP, CSV injection). It gets an apostrophe in front.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The end of a project's chain: the number and the hash of its last row."""

    project: UUID
    number: int
    hash: str


def head(project_id: UUID) -> ChainHead:
    """Return the current end of the chain. An empty chain has the number 0."""
    row = Head.objects.filter(pk=project_id).first()
    return ChainHead(project_id, row.audit_number, row.audit_hash or START) if row else ChainHead(project_id, 0, START)


def after(project_id: UUID, number: int, most: int, *, until: int | None = None) -> list[AuditEntry]:
    """Return at most `most` rows after row `number`, oldest first; with `until`, none beyond that number."""
    rows = AuditEntry.objects.filter(project_id=project_id, number__gt=number).order_by("number")
    return list((rows if until is None else rows.filter(number__lte=until))[:most])


def of_subject(project_id: UUID, subject: str) -> list[AuditEntry]:
    """Return the rows about one subject, oldest first."""
    return list(AuditEntry.objects.filter(project_id=project_id, subject=subject).order_by("number"))


def as_json(entry: AuditEntry) -> bytes:
    """Return one row as JSON. `detail` is the stored canonical text, copied as it is."""
    row = {name: getattr(entry, name) for name in COLUMNS}
    return msgspec.json.encode(row | {"detail": msgspec.Raw(entry.detail.encode())})


async def json_lines(end: ChainHead, still_allowed: Callable[[], Awaitable[bool]]) -> AsyncGenerator[bytes, None]:
    """Yield the project, every row up to `end`, and `end` itself as the last line.

    A file without that last line is not whole.
    """
    yield _line({"project": str(end.project)})
    async for rows in _batches(end, still_allowed):
        yield b"".join(as_json(entry) + b"\n" for entry in rows)
    yield _line({"head": {"number": end.number, "hash": end.hash}})


async def csv_lines(end: ChainHead, still_allowed: Callable[[], Awaitable[bool]]) -> AsyncGenerator[bytes, None]:
    """Yield a header and every row up to `end` as CSV (RFC 4180). No cell is a formula."""
    yield _csv([COLUMNS])
    async for rows in _batches(end, still_allowed):
        cells = [[str(getattr(entry, name)) for name in COLUMNS] for entry in rows]
        yield _csv([[f"'{cell}" if cell.lstrip(" ").startswith(FORMULA) else cell for cell in row] for row in cells])


class ExportStopped(Exception):
    """The reader's credential ended, or a row is missing. The connection is cut, so the file has no last line."""


async def _batches(
    end: ChainHead, still_allowed: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[Sequence[AuditEntry], None]:
    number = 0
    while number < end.number:
        rows = await run_in_threadpool(after, end.project, number, AT_ONCE, until=end.number)
        if not rows or not await still_allowed():
            raise ExportStopped("a row is missing" if not rows else "the credential is no longer live")
        number = rows[-1].number
        yield rows


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
