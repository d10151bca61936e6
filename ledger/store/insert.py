"""Insert events and audit rows by statements written by hand: every change of anything runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg.types.numeric import Int8

from core.db import sql
from core.db.named_sql import NamedSQL

STATEMENTS = NamedSQL(Path(__file__).parent)
Row = dict[str, Any]
EVENT = ("cursor", "session", "attempt", "seq", "source", "type", "size", "payload")
AUDIT = ("number", "at", "actor", "action", "subject", "detail", "previous_hash", "hash")


def rows(project_id: UUID, events: Sequence[Row], audits: Sequence[Row]) -> None:
    """Insert the rows of one project, and set the hash of its ledger head when there are audit rows."""
    project = {"project": sql.uid(project_id)}
    if connection.vendor == "postgresql":
        # Arrays, so that the text of the statement is the same for any number of rows.
        params = {**project, **_arrays("event", EVENT, events)}
        if audits:
            params |= {**_arrays("audit", AUDIT, audits), "hash": audits[-1]["hash"]}
        sql.run_prepared(STATEMENTS["insert_entries" if audits else "insert_events"], params)
        return
    if events:
        own = [{**project, **event, "session": sql.uid(event["session"])} for event in events]
        sql.run_each(STATEMENTS["insert_event"], own)
    if audits:
        sql.run_each(STATEMENTS["insert_audit"], [{**project, **row} for row in audits])
        sql.run(STATEMENTS["set_hash"], {**project, "hash": audits[-1]["hash"]})


def _arrays(prefix: str, columns: Sequence[str], given: Sequence[Row]) -> dict[str, list[Any]]:
    """Return the columns as lists. Whole numbers have one width, or psycopg would prepare a statement for each."""
    return {
        f"{prefix}_{column}": [Int8(value) if isinstance(value := row[column], int) else value for row in given]
        for column in columns
    }
