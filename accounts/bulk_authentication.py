"""Authenticate many calls with one query, with the same results as `credentials.check` for each token.

The query is written by hand: Django takes ten times longer to build it than the database to answer it. It runs for
every batch and nothing is cached, so an ended key stops working at once, everywhere.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.db import DataError, connection

from accounts import credentials, effective_scopes
from accounts.models import Credential, User
from core.db import clock, sql
from core.db.named_sql import several

log = logging.getLogger(__name__)

#: Errors of a bad value. A fault of the database or of the statement would affect every row.
UNREADABLE = (DataError, ValueError, TypeError)
#: The columns of `find_credentials`, in the order of the models, as `from_db` needs them. Others are read on demand.
FIELDS = ("id", "public_id", "secret_hash", "kind", "project_id", "user_id", "scopes", "ended_at")
OWNERS_FIELDS = ("id", "is_superuser", "is_staff", "is_active")


def check_all(tokens: Collection[str]) -> dict[str, Credential | None]:
    """Return the credential of each token that is live now. Its project and owner are not loaded.

    An unreadable row authenticates nobody and does not affect the others.
    """
    found = recognise_all(tokens)
    return {token: each.credential if each.state == "live" else None for token, each in found.items()}


def recognise_all(tokens: Collection[str]) -> dict[str, credentials.Recognised]:
    """Return the state of each token, and its credential unless it is unknown."""
    split = {token: credentials.parts(token) for token in tokens}
    found = _find_sound(sorted({public_id for _, public_id, _ in split.values()}))
    return {token: _check(found.get(public_id), word, secret) for token, (word, public_id, secret) in split.items()}


def _find_sound(public_ids: Sequence[str]) -> dict[str, Credential]:
    """Find the readable rows. One bad value fails the whole query, so each row is then read alone."""
    try:
        return _find(public_ids)
    except UNREADABLE as error:
        if len(public_ids) > 1:
            return {name: row for each in public_ids for name, row in _find_sound([each]).items()}
        log.error("the row of credential %s cannot be read: it is refused", public_ids[0], exc_info=error)
        return {}


def _check(credential: Credential | None, word: str, secret: str) -> credentials.Recognised:
    try:
        return credentials.verdict(credential, word, secret)
    except UNREADABLE:
        named = credential.public_id if credential else "that is unknown"
        log.exception("the row of credential %s cannot be checked: it is refused", named)
        return credentials.Recognised(None, "unknown")


def _find(public_ids: Sequence[str]) -> dict[str, Credential]:
    """Return the rows of these ids, annotated like those of `credentials.recognise`."""
    alias = connection.alias
    params = [clock.parameter(), several(effective_scopes.codenames()), several(public_ids)]
    found = sql.run_prepared(effective_scopes.STATEMENTS["find_credentials"], params)
    return {row.public_id: row for row in (_row(alias, values) for values in found)}


def _row(alias: str, values: Sequence[Any]) -> Credential:
    fields = dict(zip(FIELDS, values, strict=False))
    # SQLite has neither JSON nor UUIDs.
    if isinstance(fields["scopes"], str):
        fields["scopes"] = json.loads(fields["scopes"])
    if not isinstance(fields["scopes"], list) or not all(isinstance(each, str) for each in fields["scopes"]):
        raise ValueError("the scopes of a credential are not a list of words")
    if not isinstance(fields["project_id"], UUID):
        fields["project_id"] = UUID(fields["project_id"])
    credential = Credential.from_db(alias, FIELDS, list(fields.values()))
    if credential.user_id is not None:
        credential.user = User.from_db(alias, OWNERS_FIELDS, values[len(FIELDS) : -3])
    credential.has_expired, credential.owner_sees, credential.owner_holds = values[-3:]
    return credential
