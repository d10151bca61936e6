"""Mint, check and end credentials.

A token is `wr_<kind>_<id>_<secret>`. The id finds the row. The secret (256 bits) is compared as a SHA-256 hash in
constant time. An unknown id costs the same work as a wrong secret, so a caller cannot distinguish the two.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import BooleanField, Case, Q, QuerySet, Value, When

from accounts import audit_hook, effective_scopes, unreadable
from accounts.actors import Actor
from accounts.models import Credential, CredentialKind, Project, User
from core.db.clock import database_now

WORDS = {CredentialKind.API: "key", CredentialKind.CHILD: "child", CredentialKind.POOL: "pool"}
SHAPE = re.compile(r"\Awr_(key|child|pool)_([a-z0-9]{16})_([A-Za-z0-9_-]{43})\Z")
NOBODY = hashlib.sha256(b"nobody").hexdigest()
_KINDS = {word: kind for kind, word in WORDS.items()}

State = Literal["live", "ended", "expired", "unknown"]


@dataclass(frozen=True, slots=True)
class Recognised:
    """The result of checking a token. `credential` is None only when `state` is unknown."""

    credential: Credential | None
    state: State


def mint(
    *,
    kind: CredentialKind | str,
    project: Project,
    scopes: Iterable[str] = (),
    user: User | None = None,
    subject: str = "",
    attempt: int | None = None,
    expires_at: datetime | None = None,
    name: str = "",
    actor: Actor | None = None,
) -> tuple[Credential, str]:
    """Store a new credential and return it with its token, which cannot be recovered.

    A key writes an audit row that names its creator: `actor`, or else the owner. A child's token writes none: it
    belongs to an attempt, and the operations on attempts write their own.
    """
    kind = CredentialKind(kind)
    public_id = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(16))
    secret = secrets.token_urlsafe(32)
    with audit_hook.transaction():
        credential = Credential.objects.create(
            public_id=public_id,
            secret_hash=_hash(secret),
            kind=kind,
            project=project,
            user=user,
            name=name,
            subject=subject,
            attempt=attempt,
            scopes=sorted(scopes),
            expires_at=expires_at,
        )
        if kind != CredentialKind.CHILD:
            owner = Actor.of_user(user) if user else Actor.system("wardroom")
            _record(credential, actor or owner, "key.minted")
    return credential, f"wr_{WORDS[kind]}_{public_id}_{secret}"


def recognise(token: str) -> Recognised:
    """Return the credential of a token and its state, also when it is no longer live.

    A row that cannot be read is unknown. The socket needs the state to distinguish 4401 from 4410. The credential's
    `scopes` are those that its owner could still grant; see `accounts.effective_scopes`.
    """
    word, public_id, secret = parts(token)
    rows = dated(Credential.objects.select_related("project", "user"))
    # A child's token has no owner, and each of its frames runs this query.
    rows = rows if word == WORDS[CredentialKind.CHILD] else effective_scopes.annotated(rows)
    try:
        return verdict(rows.filter(public_id=public_id).first(), word, secret)
    except unreadable.ERRORS as error:
        unreadable.refuse(public_id, error)
        return Recognised(None, "unknown")


def child_state(token: str, columns: Sequence[Any]) -> State:
    """Return the state of a child's token from its kind, secret hash, owner, end, and whether it has expired.

    An unknown id has no kind. A caller that reads other rows as well joins the columns to its own query, so that each
    frame costs one query less.
    """
    word, public_id, secret = parts(token)
    kind, secret_hash, user_id, has_ended, has_expired = columns
    if kind is None:
        return verdict(None, word, secret).state
    if user_id is not None:  # No child's token has an owner. One that has is judged by its owner, too.
        return recognise(token).state
    row = Credential(public_id=public_id, kind=kind, secret_hash=secret_hash, scopes=[])
    row.has_expired = bool(has_expired)
    try:
        state = verdict(row, word, secret).state
    except unreadable.ERRORS as error:
        unreadable.refuse(public_id, error)
        return "unknown"
    return "ended" if has_ended and state != "unknown" else state


def parts(token: str) -> tuple[str, str, str]:
    """Return a token's kind, id and secret. A malformed token gives values that match no row."""
    shape = SHAPE.match(token)
    return (shape[1], shape[2], shape[3]) if shape else ("key", "", "")


def verdict(credential: Credential | None, word: str, secret: str) -> Recognised:
    """Return the state of a token for the annotated row that its id found. Every check of a token ends here.

    Raises one of `unreadable.ERRORS` for a row with values that make no credential.
    """
    same = hmac.compare_digest(_hash(secret), credential.secret_hash if credential else NOBODY)
    if credential is None or not same or credential.kind != _KINDS[word]:
        return Recognised(None, "unknown")
    if not isinstance(credential.scopes, list) or not all(isinstance(each, str) for each in credential.scopes):
        raise ValueError("the scopes of a credential are not a list of words")
    # Change this value only, not the row: a permission that returns also restores its scopes.
    credential.scopes = effective_scopes.worth(credential)
    match effective_scopes.why_dead(credential):
        case "":
            return Recognised(credential, "live")
        case effective_scopes.EXPIRED:
            return Recognised(credential, "expired")
    return Recognised(credential, "ended")


def dated(rows: QuerySet[Credential]) -> QuerySet[Credential]:
    """Annotate each credential with `has_expired`, by the database's clock."""
    # The model declares it for readers. Only this function sets it.
    return rows.annotate(  # type: ignore[no-redef]
        has_expired=Case(
            When(Q(expires_at__lte=database_now()), then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        )
    )


def check(token: str) -> Credential | None:
    """Return the credential when the token is live now, else None."""
    found = recognise(token)
    return found.credential if found.state == "live" else None


def end(credential_id: int, actor: Actor) -> bool:
    """End one credential and write an audit row. Return False when it had already ended."""
    with audit_hook.transaction():
        if not Credential.objects.filter(pk=credential_id, ended_at=None).update(ended_at=database_now()):
            return False
        _record(Credential.objects.select_related("user").get(pk=credential_id), actor, "key.ended")
        return True


def end_for_attempt(project_id: UUID, subject: str, attempt: int) -> int:
    """End every token of one attempt of one session. Return their number."""
    queryset = Credential.objects.filter(
        project_id=project_id, kind=CredentialKind.CHILD, subject=subject, attempt=attempt, ended_at=None
    )
    return queryset.update(ended_at=database_now())


def bearer(header: str) -> str:
    """Return the token of an `Authorization: Bearer <token>` header, or an empty text."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _record(key: Credential, actor: Actor, action: str) -> None:
    owner = key.user.get_username() if key.user else None
    until = key.expires_at.isoformat() if key.expires_at else None
    payload = {"name": key.name, "owner": owner, "scopes": key.scopes, "expires_at": until}
    audit_hook.audit(key.project_id, actor, action, f"key:{key.public_id}", payload)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
