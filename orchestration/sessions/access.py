"""Select the sessions that a credential can name (I11).

A session outside the credential's reach is answered with the same 404 as an unknown one.
"""

from __future__ import annotations

from uuid import UUID

from accounts.actors import Actor
from accounts.models import Credential, CredentialKind
from core.web import problems
from orchestration.models import Session


def readable(credential: Credential, session_id: UUID) -> Session:
    """Return a session of the credential's project. A child's token reads only its own session and those below it.

    Raises 404.
    """
    session = Session.objects.filter(pk=session_id, project_id=credential.project_id).first()
    if session is None or not (credential.kind != CredentialKind.CHILD or _is_below(session, credential.subject)):
        raise problems.not_found()
    return session


def sees(credential: Credential, session_id: UUID) -> bool:
    """Return whether `readable` returns the session."""
    try:
        readable(credential, session_id)
    except problems.Problem:
        return False
    return True


def steerable(credential: Credential, session_id: UUID) -> Session:
    """Return a session that the credential may steer. A child's token steers only the sessions below its own.

    Raises 404, and 403 for a child's own session.
    """
    session = readable(credential, session_id)
    if credential.kind == CredentialKind.CHILD and credential.subject == str(session_id):
        raise problems.forbidden("A child steers its children. It ends its own session over its connection.")
    return session


def writable(credential: Credential, session_id: UUID) -> Session:
    """Return a session that the credential may write to. A child's token writes to every session of its own tree.

    Raises 404.
    """
    session = Session.objects.filter(pk=session_id, project_id=credential.project_id).first()
    is_child = credential.kind == CredentialKind.CHILD
    if session is None or (is_child and not in_tree(UUID(credential.subject), session_id)):
        raise problems.not_found()
    return session


def in_tree(of: UUID, session_id: UUID) -> bool:
    """Return whether both sessions belong to one tree. A child may write there, over its connection and by REST."""
    places = Session.objects.filter(pk__in=(of, session_id)).values_list("pk", "root", "project_id")
    found = {pk: (root, project_id) for pk, root, project_id in places}
    return session_id in found and found[session_id] == found.get(of)


def may_start(actor: Actor, session: Session) -> bool:
    """Return whether a message of the caller starts a session that is over.

    A child starts only sessions below its own.
    """
    return actor.session is None or (session.pk != actor.session and _is_below(session, str(actor.session)))


def own(credential: Credential, session_id: UUID) -> Session:
    """Return the session that the credential may act for.

    A child's token acts only for its own, in the current attempt.

    Raises 404, 403 for another session, and 409 `not-running` for an earlier attempt.
    """
    session = readable(credential, session_id)
    if credential.kind != CredentialKind.CHILD:
        return session
    if credential.subject != str(session_id):
        raise problems.forbidden("A child may act only for its own session.")
    if credential.attempt != session.attempt:
        raise problems.conflict(f"Attempt {credential.attempt} is over.", "not-running")
    return session


def _is_below(session: Session, top: str) -> bool:
    """Return whether `session` is `top` or a descendant of it. The depth is bounded, so the walk is bounded too."""
    above: Session | None = session
    while above is not None:
        if str(above.pk) == top:
            return True
        above = above.parent
    return False
