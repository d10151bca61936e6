"""Decide what a role of this server gives, and to which sessions.

A role's name is a label that any caller may choose. The role gives addresses, token scopes, an environment, a folder
and retries. They belong to a session that Wardroom's own runner starts with the role's own command, to one that this
server gives to a plug-in, or to one with a spawner of equally strong scopes. The decision is stored with the session.
So a later change of the roles gives nothing to a session that only has the label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounts.actors import Actor
from core.limits import LIMITS
from orchestration.models import Session
from orchestration.states import Runner

#: A key with this scope may write to every plain address of its project.
WRITE = "mailboxes:write"
COMMAND = "sessions:command"


def named(role: str) -> Mapping[str, Any]:
    """Return the role's entry in the table of roles, or an empty one for a name that is only a label."""
    found: Mapping[str, Any] = LIMITS.roles.get(role, {})
    return found


def of(session: Session) -> Mapping[str, Any]:
    """Return the grants of the session's role to this session."""
    return named(session.role) if session.has_role_reach else {}


def may_command(actor: Actor) -> bool:
    """Return whether the caller may run a command on this server's hosts without an approval."""
    match actor.kind:
        case "system":
            return True
        case "user":
            return bool(actor.user and actor.user.is_superuser)
        case "key":
            return not {COMMAND, "admin"}.isdisjoint(actor.scopes)
    return False


def may_use(actor: Actor, role: str) -> bool:
    """Return whether the caller's own scopes cover the role."""
    if may_command(actor):
        return True
    return actor.kind == "key" and {WRITE, *named(role).get("scopes", ())} <= set(actor.scopes)


def gives_reach(actor: Actor, role: str, runner: str, *, named: str | None, command: tuple[str, ...] | None) -> bool:
    """Return whether a new session receives the grants of its role.

    `named` and `command` are the caller's own runner and command, if any. A caller that names another runner than the
    role does not run the role.
    """
    is_ours = runner == Runner.PROCESS or (runner != Runner.EXTERNAL and named is None)
    return role in LIMITS.roles and ((is_ours and command is None) or may_use(actor, role))


def restrain(session: Session, actor: Actor) -> None:
    """Withdraw the right to run unasked before `actor` starts another attempt, unless `actor` has that right.

    The right is never given back, because several callers may start the same session in turn.
    """
    if session.may_run_unasked and not may_command(actor):
        Session.objects.filter(pk=session.pk).update(may_run_unasked=False)
