"""Which sessions a credential can name. What it cannot is not there: the same 404 for foreign and for unknown (I11)."""

from __future__ import annotations

from uuid import UUID

from accounts.actors import Actor
from accounts.models import Credential, CredentialKind
from core.web import problems
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


def writable(credential: Credential, session_id: UUID) -> Session:
    """The session, for a key of its project; for a child's token every session of its own tree."""
    session = Session.objects.filter(pk=session_id, project_id=credential.project_id).first()
    is_child = credential.kind == CredentialKind.CHILD
    if session is None or (is_child and not in_tree(UUID(credential.subject), session_id)):
        raise problems.not_found()
    return session


def in_tree(of: UUID, session_id: UUID) -> bool:
    """Whether both sessions belong to one tree: a child may write there, over its connection and by REST."""
    places = Session.objects.filter(pk__in=(of, session_id)).values_list("pk", "root", "project_id")
    found = {pk: (root, project_id) for pk, root, project_id in places}
    return session_id in found and found[session_id] == found.get(of)


def may_start(actor: Actor, session: Session) -> bool:
    """Whether a message of the caller starts a session that is over: a child starts only what descends from it."""
    return actor.session is None or (session.pk != actor.session and _is_below(session, str(actor.session)))


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
