"""Authenticate many calls with one query, with the same results as `credentials.check` for each token.

The query is written by hand: Django takes ten times longer to build it than the database to answer it. It runs for
every batch and nothing is cached, so an ended key stops working at once, everywhere.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import DataError, connection, models

from accounts import credentials, effective_scopes
from accounts.models import Credential, User
from core.db import sql
from core.db.clock import database_now

log = logging.getLogger(__name__)
Row = TypeVar("Row", bound=models.Model)

#: Errors of a bad value. A fault of the database or of the statement would affect every row.
UNREADABLE = (DataError, ValueError, TypeError)
#: The other columns are read on demand.
FIELDS = ("id", "public_id", "secret_hash", "kind", "project_id", "user_id", "scopes", "ended_at")
OWNERS_FIELDS = ("id", "is_active", "is_staff", "is_superuser")
COLUMNS = ", ".join(
    [f"accounts_credential.{name}" for name in FIELDS] + [f"accounts_user.{name}" for name in OWNERS_FIELDS]
)
FIND = """
    SELECT {columns}, COALESCE(accounts_credential.expires_at <= {clock}, FALSE), {sees}, {holds}
    FROM accounts_credential LEFT JOIN accounts_user ON accounts_user.id = accounts_credential.user_id
    WHERE accounts_credential.public_id {among}
"""


def check_all(tokens: Collection[str], *, now: datetime | None = None) -> dict[str, Credential | None]:
    """Return the credential of each token that is live now. Its project and owner are not loaded.

    An unreadable row authenticates nobody and does not affect the others.
    """
    found = recognise_all(tokens, now=now)
    return {token: each.credential if each.state == "live" else None for token, each in found.items()}


def recognise_all(tokens: Collection[str], *, now: datetime | None = None) -> dict[str, credentials.Recognised]:
    """Return the state of each token, and its credential unless it is unknown."""
    split = {token: credentials.parts(token) for token in tokens}
    found = _find_sound(sorted({public_id for _, public_id, _ in split.values()}), now)
    return {token: _check(found.get(public_id), word, secret) for token, (word, public_id, secret) in split.items()}


def _find_sound(public_ids: Sequence[str], now: datetime | None) -> dict[str, Credential]:
    """Find the readable rows. One bad value fails the whole query, so each row is then read alone."""
    try:
        return _find(public_ids, now)
    except UNREADABLE as error:
        if len(public_ids) > 1:
            return {name: row for each in public_ids for name, row in _find_sound([each], now).items()}
        log.error("the row of credential %s cannot be read: it is refused", public_ids[0], exc_info=error)
        return {}


def _check(credential: Credential | None, word: str, secret: str) -> credentials.Recognised:
    try:
        return credentials.verdict(credential, word, secret)
    except UNREADABLE:
        named = credential.public_id if credential else "that is unknown"
        log.exception("the row of credential %s cannot be checked: it is refused", named)
        return credentials.Recognised(None, "unknown")


def _find(public_ids: Sequence[str], now: datetime | None) -> dict[str, Credential]:
    """Return the rows of these ids, annotated like those of `credentials.recognise`."""
    clock, moment = Credential.objects.all().query.get_compiler(connection=connection).compile(database_now(now))
    holds, names = effective_scopes.holds()
    # On PostgreSQL the ids are one parameter: the statement is constant, and is planned once per connection.
    postgres = connection.vendor == "postgresql"
    among = "= ANY(%s)" if postgres else f"IN ({', '.join(['%s'] * len(public_ids))})"
    statement = FIND.format(columns=COLUMNS, clock=clock, sees=effective_scopes.SEES, holds=holds, among=among)
    found = sql.run_prepared(statement, [*moment, *names, *([list(public_ids)] if postgres else public_ids)])
    return {row.public_id: row for row in map(_row, found)}


def _row(values: Sequence[Any]) -> Credential:
    fields = dict(zip(FIELDS, values, strict=False))
    # SQLite has neither JSON nor UUIDs.
    if isinstance(fields["scopes"], str):
        fields["scopes"] = json.loads(fields["scopes"])
    if not isinstance(fields["scopes"], list) or not all(isinstance(each, str) for each in fields["scopes"]):
        raise ValueError("the scopes of a credential are not a list of words")
    if not isinstance(fields["project_id"], UUID):
        fields["project_id"] = UUID(fields["project_id"])
    credential = _partly(Credential, fields)
    if credential.user_id is not None:
        credential.user = _partly(User, dict(zip(OWNERS_FIELDS, values[len(FIELDS) :], strict=False)))
    credential.has_expired, credential.owner_sees, credential.owner_holds = values[-3:]
    return credential


def _partly(model: type[Row], values: dict[str, Any]) -> Row:
    # `from_db` needs the values in the model's own order.
    names = [field.attname for field in model._meta.concrete_fields if field.attname in values]
    return model.from_db(connection.alias, names, [values[name] for name in names])
