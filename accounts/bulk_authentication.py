"""Authenticate many calls with one query, with the same results as `credentials.check` for each token.

The query is written by hand: Django takes ten times longer to build it than the database to answer it. It runs for
every batch and nothing is cached, so an ended key stops working at once, everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from accounts import credentials, effective_scopes, unreadable
from accounts.models import Credential, Project, User
from core.concurrency.batching import Batcher
from core.db import clock, sql
from core.db.named_sql import several

#: The columns of `find_credentials`, in the order of the models, as `from_db` needs them. Others are read on demand.
FIELDS = (
    *("id", "public_id", "secret_hash", "kind", "project_id", "user_id", "name"),
    *("subject", "attempt", "scopes", "ended_at"),
)
OWNERS_FIELDS = ("id", "is_superuser", "username", "is_staff", "is_active")


def check_all(tokens: Collection[str]) -> dict[str, Credential | None]:
    """Return the credential of each token that is live now. The rest of its project and owner is read on demand.

    An unreadable row authenticates nobody and does not affect the others.
    """
    found = recognise_all(tokens)
    return {token: each.credential if each.state == "live" else None for token, each in found.items()}


def recognise_all(tokens: Collection[str]) -> dict[str, credentials.Recognised]:
    """Return the state of each token, and its credential unless it is unknown."""
    split = {token: credentials.parts(token) for token in tokens}
    found = _find_sound(sorted({public_id for _, public_id, _ in split.values()}))
    recognised = {}
    for token, (word, public_id, secret) in split.items():
        credential = found.get(public_id)
        try:
            recognised[token] = credentials.verdict(credential, word, secret)
        except unreadable.ERRORS as error:
            unreadable.refuse(credential.public_id if credential else "that is unknown", error)
            recognised[token] = credentials.Recognised(None, "unknown")
    return recognised


def _recognise_each(tokens: Sequence[str]) -> list[credentials.Recognised | Exception]:
    found = recognise_all(set(tokens))
    return [found[token] for token in tokens]


_together: Batcher[str, credentials.Recognised] = Batcher(_recognise_each)


async def recognise(token: str) -> credentials.Recognised:
    """Return the state of a token and its credential, in one query for all tokens that are being checked.

    A call that is answered outside Django checks its token first. One thread each for a flood of forged tokens would
    take every thread.
    """
    return await _together.ask(token)


def _find_sound(public_ids: Sequence[str]) -> dict[str, Credential]:
    """Return the readable rows of these ids, annotated like those of `credentials.recognise`.

    One bad value fails the whole query, so each row is then read alone.
    """
    alias = connection.alias
    try:
        params = [clock.parameter(), several(effective_scopes.codenames()), several(public_ids)]
        found = sql.run_prepared(effective_scopes.STATEMENTS["find_credentials"], params)
        return {row.public_id: row for row in (_row(alias, values) for values in found)}
    except unreadable.ERRORS as error:
        if len(public_ids) > 1:
            return {name: row for each in public_ids for name, row in _find_sound([each]).items()}
        unreadable.refuse(public_ids[0], error)
        return {}


def _row(alias: str, values: Sequence[Any]) -> Credential:
    fields = dict(zip(FIELDS, values, strict=False))
    # SQLite has neither JSON nor UUIDs.
    if isinstance(fields["scopes"], str):
        fields["scopes"] = json.loads(fields["scopes"])
    if not isinstance(fields["project_id"], UUID):
        fields["project_id"] = UUID(fields["project_id"])
    credential = Credential.from_db(alias, FIELDS, list(fields.values()))
    credential.project = Project.from_db(alias, ("id",), [credential.project_id])
    if credential.user_id is not None:
        credential.user = User.from_db(alias, OWNERS_FIELDS, values[len(FIELDS) : -3])
    credential.has_expired, credential.owner_sees, credential.owner_holds = values[-3:]
    return credential
