"""The effective scopes of an API key: at most those that its owner could grant now.

They are computed at each use, in the query that finds the key. So a key loses at its next call whatever its owner has
lost: the account, the project, a permission, or the superuser's place on the staff.
"""

from __future__ import annotations

import functools
from pathlib import Path

from django.db.models import BooleanField, QuerySet, TextField
from django.db.models.expressions import RawSQL

from accounts import scopes
from accounts.models import Credential, CredentialKind, User
from core.db.named_sql import NamedSQL, several

#: Reasons why a key does not work, in the words that staff read.
ENDED, EXPIRED, NO_OWNER = "ended", "expired", "no owner"
OWNER_INACTIVE, OWNER_OUTSIDE = "owner inactive", "owner does not see the project"
OWNER_OFF_STAFF = "owner is a superuser off the staff"


#: `accounts.bulk_authentication` reads the same facts with the key itself.
STATEMENTS = NamedSQL(Path(__file__).parent)


def annotated(keys: QuerySet[Credential]) -> QuerySet[Credential]:
    """Annotate each key with facts about its owner: `owner_sees` and `owner_holds`."""
    # The model declares both for readers. Only this function sets them. This SQL contains no user input.
    sees, holding = STATEMENTS["owner_sees"], STATEMENTS["owner_holds"]
    return keys.annotate(  # type: ignore[no-redef]
        owner_sees=RawSQL(sees, (), output_field=BooleanField()),  # noqa: S611
        owner_holds=RawSQL(holding, (several(codenames()),), output_field=TextField()),  # noqa: S611
    )


@functools.cache
def codenames() -> tuple[str, ...]:
    """Return the names of the permissions that scopes need, without their apps."""
    return tuple(sorted({name.partition(".")[2] for name in scopes.permissions()}))


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
