"""What a role of this server gives, and who may have it.

A role's name is a label that any caller may choose. What the role gives (its addresses, its token's scopes, its
environment and folder, its retries) belongs to a session that Wardroom's own runner starts with the role's own command,
or whose spawner holds scopes that reach as far. The answer is stored with the session, so a later change of the roles
gives nothing to a session that only has the label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from accounts.actors import Actor
from orchestration.models import Session
from orchestration.states import Runner

#: A key with this scope may write to every plain address of its project.
WRITE = "mailboxes:write"
COMMAND = "sessions:command"


def named(role: str) -> Mapping[str, Any]:
    """The entry of the table of roles, or nothing for a name that is only a label."""
    found: Mapping[str, Any] = settings.WARDROOM["roles"].get(role, {})
    return found


def of(session: Session) -> Mapping[str, Any]:
    """What the session's role gives to this session."""
    return named(session.role) if session.has_role_reach else {}


def may_command(actor: Actor) -> bool:
    """Whether the caller may run a command on this server's hosts that nobody approves."""
    match actor.kind:
        case "system":
            return True
        case "user":
            return bool(actor.user and actor.user.is_superuser)
        case "key":
            return not {COMMAND, "admin"}.isdisjoint(actor.scopes)
    return False


def may_use(actor: Actor, role: str) -> bool:
    """Whether the caller reaches as far as the role without being it."""
    if may_command(actor):
        return True
    return actor.kind == "key" and {WRITE, *named(role).get("scopes", ())} <= set(actor.scopes)


def gives_reach(actor: Actor, role: str, runner: Runner, command: tuple[str, ...] | None) -> bool:
    """Whether a new session gets what its role gives. `command` is the caller's own, if there is one."""
    runs_the_role = runner == Runner.PROCESS and command is None
    return role in settings.WARDROOM["roles"] and (runs_the_role or may_use(actor, role))


def restrain(session: Session, actor: Actor) -> None:
    """Before `actor` starts another attempt: its steps run unasked only if `actor` could order that, too.

    The right is never given back, because the same session could be started by several callers in turn.
    """
    if session.may_run_unasked and not may_command(actor):
        Session.objects.filter(pk=session.pk).update(may_run_unasked=False)
