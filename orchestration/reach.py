"""Which sessions a credential can name. What it cannot is not there: the same 404 for foreign and for unknown (I11)."""

from __future__ import annotations

from uuid import UUID

from accounts import problems
from accounts.models import Credential, CredentialKind
from orchestration.models import Session


def readable(credential: Credential, session_id: UUID) -> Session:
    """The session, for a key of its project; for a child's token only itself and what descends from it."""
    session = Session.objects.filter(pk=session_id, project_id=credential.project_id).first()
    if session is None or not (credential.kind != CredentialKind.CHILD or _is_below(session, credential.subject)):
        raise problems.not_found()
    return session


def sees(credential: Credential, session_id: UUID) -> bool:
    """Whether `readable` gives it."""
    try:
        readable(credential, session_id)
    except problems.Problem:
        return False
    return True


def steerable(credential: Credential, session_id: UUID) -> Session:
    """The session, for a key of its project; for a child's token only what descends from its own session."""
    session = readable(credential, session_id)
    if credential.kind == CredentialKind.CHILD and credential.subject == str(session_id):
        raise problems.forbidden("A child steers its children; itself it ends over its line.")
    return session


def own(credential: Credential, session_id: UUID) -> Session:
    """The session, for a key of its project; for a child's token only its own, while its attempt is the current one."""
    session = readable(credential, session_id)
    if credential.kind != CredentialKind.CHILD:
        return session
    if credential.subject != str(session_id):
        raise problems.forbidden("A child speaks for its own session alone.")
    if credential.attempt != session.attempt:
        raise problems.conflict(f"Attempt {credential.attempt} is over.", "not-running")
    return session


def _is_below(session: Session, top: str) -> bool:
    """Whether `session` is `top` or has it among its ancestors. Depth is bounded, so the walk is."""
    above: Session | None = session
    while above is not None:
        if str(above.pk) == top:
            return True
        above = above.parent
    return False
