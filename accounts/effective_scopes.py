"""The effective scopes of an API key: at most those that its owner could grant now.

They are computed at each use, in the query that finds the key. So a key loses at its next call whatever its owner has
lost: the account, the project, a permission, or the superuser's place on the staff.
"""

from __future__ import annotations

import functools

from django.db import connection
from django.db.models import BooleanField, QuerySet, TextField
from django.db.models.expressions import RawSQL

from accounts import scopes
from accounts.models import Credential, CredentialKind, User

#: Reasons why a key does not work, in the words that staff read.
ENDED, EXPIRED, NO_OWNER = "ended", "expired", "no owner"
OWNER_INACTIVE, OWNER_OUTSIDE = "owner inactive", "owner does not see the project"
OWNER_OFF_STAFF = "owner is a superuser off the staff"


# Written by hand: every call with a key runs this, and Django takes longer to build it than the database to answer it.
#: Same rule as `projects.visible_to`: the owner is in a group that the project names.
SEES = """EXISTS (
    SELECT 1 FROM accounts_project_groups named JOIN accounts_user_groups member ON member.group_id = named.group_id
    WHERE named.project_id = accounts_credential.project_id AND member.user_id = accounts_credential.user_id)"""
#: Same rule as `has_perm`: the members of `scopes.permissions()` that the owner holds, directly or by a group.
HOLDS = """(
    SELECT {joined}(app.app_label || '.' || held.codename, ',')
    FROM auth_permission held JOIN django_content_type app ON app.id = held.content_type_id
    WHERE held.codename IN ({names}) AND held.id IN (
        SELECT permission_id FROM accounts_user_user_permissions WHERE user_id = accounts_credential.user_id
        UNION ALL
        SELECT given.permission_id FROM auth_group_permissions given
        JOIN accounts_user_groups member ON member.group_id = given.group_id
        WHERE member.user_id = accounts_credential.user_id))"""


def annotated(keys: QuerySet[Credential]) -> QuerySet[Credential]:
    """Annotate each key with facts about its owner: `owner_sees` and `owner_holds`."""
    holding, names = holds()
    # The model declares both for readers. Only this function sets them. This SQL contains no user input.
    return keys.annotate(  # type: ignore[no-redef]
        owner_sees=RawSQL(SEES, (), output_field=BooleanField()),  # noqa: S611
        owner_holds=RawSQL(holding, names, output_field=TextField()),  # noqa: S611
    )


def holds() -> tuple[str, list[str]]:
    """Return `HOLDS` for this database, and its parameters."""
    names = sorted({name.partition(".")[2] for name in scopes.permissions()})
    joined = "STRING_AGG" if connection.vendor == "postgresql" else "GROUP_CONCAT"
    return HOLDS.format(joined=joined, names=", ".join(["%s"] * len(names))), names


def why_dead(key: Credential) -> str:
    """Return why an annotated credential does not work, or an empty text. A child's token has no owner."""
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
    """Return True for a superuser outside the staff: the admin refuses them, so their keys must not work either."""
    return user.is_superuser and not user.is_staff


def worth(key: Credential) -> list[str]:
    """Return the scopes of an annotated credential that it may use now."""
    if key.user is None or key.kind == CredentialKind.CHILD:
        return list(key.scopes)
    grantable = scopes.within(bool(key.user.is_superuser), functools.partial(holds_now, key))
    return [scope for scope in key.scopes if scope in grantable]


def holds_now(key: Credential, permission: str) -> bool:
    """Return True when the owner of an annotated key holds a permission. A child's token has no owner."""
    if key.user is None or key.kind == CredentialKind.CHILD:
        return False
    return bool(key.user.is_superuser) or permission in (key.owner_holds or "").split(",")
