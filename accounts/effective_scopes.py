"""What an API key is worth today: at most what its owner could mint now.

It is judged at each use, by the one query that finds the key, so what a person loses their keys lose with the next
call: the person themselves, the project, a permission, being a superuser on the staff.
"""

from __future__ import annotations

import functools

from django.db import connection
from django.db.models import BooleanField, QuerySet, TextField
from django.db.models.expressions import RawSQL

from accounts import scopes
from accounts.models import Credential, CredentialKind, User

#: Why a key opens nothing, in the words that staff read.
ENDED, EXPIRED, NO_OWNER = "ended", "expired", "no owner"
OWNER_INACTIVE, OWNER_OUTSIDE = "owner inactive", "owner does not see the project"
OWNER_OFF_STAFF = "owner is a superuser off the staff"


# Written by hand: every call of every key asks this, and Django takes longer to build it than a database to answer it.
#: As `projects.visible_to` says it: the owner is in a group that the project names.
SEES = """EXISTS (
    SELECT 1 FROM accounts_project_groups named JOIN accounts_user_groups mine ON mine.group_id = named.group_id
    WHERE named.project_id = accounts_credential.project_id AND mine.user_id = accounts_credential.user_id)"""
#: As `has_perm` says it: those of `scopes.permissions()` that the owner holds, in person or by a group.
HOLDS = """(
    SELECT {joined}(app.app_label || '.' || held.codename, ',')
    FROM auth_permission held JOIN django_content_type app ON app.id = held.content_type_id
    WHERE held.codename IN ({names}) AND held.id IN (
        SELECT permission_id FROM accounts_user_user_permissions WHERE user_id = accounts_credential.user_id
        UNION ALL
        SELECT given.permission_id FROM auth_group_permissions given
        JOIN accounts_user_groups mine ON mine.group_id = given.group_id
        WHERE mine.user_id = accounts_credential.user_id))"""


def judged(keys: QuerySet[Credential]) -> QuerySet[Credential]:
    """Each with what the database says of its owner: `owner_sees` and `owner_holds`."""
    holding, names = holds()
    # The model declares both for readers; only here they get a value. No word of anybody's is in this SQL.
    return keys.annotate(  # type: ignore[no-redef]
        owner_sees=RawSQL(SEES, (), output_field=BooleanField()),  # noqa: S611
        owner_holds=RawSQL(holding, names, output_field=TextField()),  # noqa: S611
    )


def holds() -> tuple[str, list[str]]:
    """`HOLDS` for this database, and its parameters."""
    names = sorted({name.partition(".")[2] for name in scopes.permissions()})
    joined = "STRING_AGG" if connection.vendor == "postgresql" else "GROUP_CONCAT"
    return HOLDS.format(joined=joined, names=", ".join(["%s"] * len(names))), names


def why_dead(key: Credential) -> str:
    """Why a judged and dated credential opens nothing, or an empty text while it does. A child's token has no owner."""
    if key.user is None and key.kind == CredentialKind.API:
        return NO_OWNER
    if key.user is not None and not key.user.is_active:
        return OWNER_INACTIVE
    if key.user is not None and is_off_staff(key.user):
        return OWNER_OFF_STAFF
    if key.ended_at is not None:
        return ENDED
    if key.has_expired:
        return EXPIRED
    if key.user is None or key.kind == CredentialKind.CHILD or key.user.is_superuser:
        return ""
    return "" if key.owner_sees else OWNER_OUTSIDE


def is_off_staff(user: User) -> bool:
    """Whether this is a superuser whom the admin does not let in: what it shut out, no key of theirs lets in again."""
    return user.is_superuser and not user.is_staff


def worth(key: Credential) -> list[str]:
    """Those of a judged credential's scopes that it may use now."""
    if key.user is None or key.kind == CredentialKind.CHILD:
        return list(key.scopes)
    mine = scopes.within(bool(key.user.is_superuser), functools.partial(holds_now, key))
    return [scope for scope in key.scopes if scope in mine]


def holds_now(key: Credential, permission: str) -> bool:
    """Whether the owner of a judged key holds one of `scopes.permissions()`. A child's token has no owner."""
    if key.user is None or key.kind == CredentialKind.CHILD:
        return False
    return bool(key.user.is_superuser) or permission in (key.owner_holds or "").split(",")
