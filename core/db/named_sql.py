"""Statements written by hand, in `.sql` files: one file for each database, whole statements with names.

    -- fragment: due
    claim_expires_at <= {now}
    -- name: expire
    UPDATE mailbox_waiting SET state = 'new' WHERE {due}

A `{fragment}` is replaced once, when the file is read. A value is a parameter: `%(name)s`. Lines that begin with `--`
are comments, and are not sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from django.db import connection

_HEAD = re.compile(r"^-- (name|fragment): (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)
_FRAGMENT = re.compile(r"\{(\w+)\}")
FILES = {"postgresql": "postgres.sql", "sqlite": "sqlite.sql"}


class NamedSQL:
    """The statements of one folder. `statements["expire"]` is that of the database in use."""

    def __init__(self, folder: Path) -> None:
        self.by_vendor = {vendor: read((folder / file).read_text()) for vendor, file in FILES.items()}

    def __getitem__(self, name: str) -> str:
        return self.by_vendor[connection.vendor][name]


def several(values: Collection[Any]) -> Any:
    """Return several values as one parameter, so that the statement is the same for any number: an array on PostgreSQL,
    and JSON on SQLite.
    """
    listed = list(values)
    return listed if connection.vendor == "postgresql" else json.dumps(listed)


def read(text: str) -> Mapping[str, str]:
    """Return the statements of a file by their names. Raises ValueError for a name that is missing or given twice."""
    _, *parts = _HEAD.split(text)
    fragments: dict[str, str] = {}
    statements: dict[str, str] = {}
    for kind, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if name in fragments or name in statements:
            raise ValueError(f"{name} is there twice")
        (fragments if kind == "fragment" else statements)[name] = _COMMENT.sub("", body).strip()

    def expanded(sql: str) -> str:
        while found := _FRAGMENT.search(sql):
            if found[1] not in fragments:
                raise ValueError(f"there is no fragment {found[1]}")
            sql = sql.replace(found[0], fragments[found[1]])
        return sql

    return {name: expanded(sql) for name, sql in statements.items()}
