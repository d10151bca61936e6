"""Insert events and audit rows by statements written by hand: every change of anything runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from core.db import clock, sql
from core.db.named_sql import NamedSQL
from ledger.audit import chain
from ledger.models import Head
from wardroom.verify.chain import START

STATEMENTS = NamedSQL(Path(__file__).parent)
Row = dict[str, Any]
#: The audit rows of one statement. It looks at each of them for each, under the lock that everybody needs.
MOST_CHAINED = 200


def entries(project_id: UUID, events: Sequence[Row], audits: Sequence[chain.Entry], *, commit: bool) -> None:
    """Lock the project's ledger head, give the rows their places after it, and insert them. `commit` ends it all."""
    if connection.vendor == "postgresql":
        made = STATEMENTS["make_head"], {"project": project_id, "start": START}
        first, *others = _statements(project_id, events, audits)
        if commit:
            sql.run_and_commit([made, first, *others])
            return
        if not sql.run_prepared(*first):
            sql.run_prepared(*made)
            sql.run_prepared(*first)
        for statement in others:
            sql.run_prepared(*statement)
    elif not _row_by_row(project_id, events, audits):
        Head.objects.bulk_create([Head(project_id=project_id)], ignore_conflicts=True)
        _row_by_row(project_id, events, audits)


def _statements(project_id: UUID, events: Sequence[Row], audits: Sequence[chain.Entry]) -> list[tuple[str, Row]]:
    """Return the statements in their order. The first one takes the events, and each at most `MOST_CHAINED` audits."""
    # As JSON, so that the text of the statement is the same for any number of rows.
    params: Row = {
        "project": project_id,
        "events": len(events),
        "new_events": _json([{**event, "place": place} for place, event in enumerate(events, 1)]),
    }
    if not audits:
        return [(STATEMENTS["write_events"], params)]
    no_events = {"events": 0, "new_events": "[]"}
    found = []
    for begin in range(0, len(audits), MOST_CHAINED):
        few = audits[begin : begin + MOST_CHAINED]
        given = [{**chain.unchained(entry), "place": place} for place, entry in enumerate(few, 1)]
        more = {"audits": len(few), "new_audits": _json(given), "now": clock.parameter()}
        found.append((STATEMENTS["write_entries"], {**params, **(no_events if begin else {}), **more}))
    return found


def _json(rows: Sequence[Row]) -> str:
    return msgspec.json.encode(rows).decode()


def _row_by_row(project_id: UUID, events: Sequence[Row], audits: Sequence[chain.Entry]) -> bool:
    project = {"project": sql.uid(project_id)}
    head = {**project, "events": len(events), "audits": len(audits), "now": clock.parameter()}
    for cursor, number, last_hash, at in sql.run(STATEMENTS["take_head"], head):
        if events:
            places = enumerate(events, cursor - len(events) + 1)
            rows = [{**project, **row, "session": sql.uid(row["session"]), "cursor": place} for place, row in places]
            sql.run_each(STATEMENTS["insert_event"], rows)
        if audits:
            chained = chain.links(last_hash, number - len(audits), at, audits)
            sql.run_each(STATEMENTS["insert_audit"], [{**project, **row} for row in chained])
            sql.run(STATEMENTS["set_hash"], {**project, "hash": chained[-1]["hash"]})
        return True
    return False
