"""Statements of `.sql` files: whole, with names, and the same ones for both databases."""

from __future__ import annotations

import re

import pytest

from accounts import effective_scopes
from core.db import named_sql
from core.db.named_sql import NamedSQL
from ledger.store import insert
from mailbox.store import sql
from orchestration.connections import fencing

#: Statements of one database: the other one takes another way.
ONLY = {
    "postgresql": {
        *("accept", "accept_one", "ack", "ack_and_claim", "ack_and_claim_bytes", "insert_messages"),
        *("make_head", "write_events", "write_entries"),
    },
    "sqlite": {
        *("claimed_messages", "insert_message", "insert_waiting", "remove_named_live"),
        *("take_head", "insert_event", "insert_audit", "set_hash"),
    },
}


def test_a_fragment_is_replaced_also_inside_another_and_comments_are_not_sent() -> None:
    text = """
-- About time: 100 %, and a {thing} that is no fragment.
-- fragment: now
statement_timestamp()
-- fragment: due
at <= {now}
-- name: find
SELECT 1
-- The rows.
FROM rows WHERE {due} AND id = %(id)s
"""
    assert named_sql.read(text) == {"find": "SELECT 1\nFROM rows WHERE at <= statement_timestamp() AND id = %(id)s"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-- name: find\nSELECT {what}\n", "there is no fragment what"),
        ("-- name: find\nSELECT 1\n-- name: find\nSELECT 2\n", "find is there twice"),
        ("-- fragment: find\n1\n-- name: find\nSELECT 2\n", "find is there twice"),
    ],
)
def test_a_file_with_a_missing_or_repeated_name_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        named_sql.read(text)


@pytest.mark.parametrize(
    "statements",
    [sql.STATEMENTS, effective_scopes.STATEMENTS, insert.STATEMENTS, fencing.STATEMENTS],
    ids=["mailbox", "accounts", "ledger", "connections"],
)
def test_both_databases_have_each_statement_with_the_same_parameters(statements: NamedSQL) -> None:
    found = {
        vendor: {name: parameters(text) for name, text in of.items() if name not in ONLY[vendor]}
        for vendor, of in statements.by_vendor.items()
    }
    assert found["postgresql"] == found["sqlite"]


def parameters(text: str) -> list[str]:
    named = sorted(set(re.findall(r"%\((\w+)\)s", text)))
    return named or re.findall(r"%s", text)
