"""The scopes of API keys, and the permissions needed to grant them."""

from __future__ import annotations

from collections.abc import Callable

from accounts.models import User

ALL = (
    "admin",
    "approvals:ask",
    "approvals:decide",
    "approvals:read",
    "approvals:reveal",
    "audit:read",
    "feed:read",
    "mailboxes:read",
    "mailboxes:write",
    "quarantine:read",
    "quarantine:write",
    "rules:write",
    "sessions:command",
    "sessions:read",
    "sessions:write",
    "webhooks:write",
)
DRAIN = "mailbox.drain_message"
STEER = "orchestration.change_session"
STOP = "orchestration.stop_session"
#: The permissions behind each scope: a key never allows more than its owner could do in person.
NEEDS = {
    "approvals:ask": ("approvals.ask",),
    "approvals:decide": ("approvals.decide",),
    "approvals:read": ("approvals.view_approval",),
    "approvals:reveal": ("approvals.view_secrets",),
    "audit:read": ("ledger.view_auditentry",),
    "feed:read": ("ledger.view_event",),
    "mailboxes:read": ("mailbox.view_message",),
    "mailboxes:write": ("mailbox.deliver_message",),
    "quarantine:read": ("mailbox.inspect_quarantine",),
    "quarantine:write": ("mailbox.inspect_quarantine", "mailbox.requeue"),
    "rules:write": ("approvals.change_rule",),
    "sessions:read": ("orchestration.view_session",),
    "sessions:write": (STEER,),
    "webhooks:write": ("ledger.change_webhook",),
}
FOR_SUPERUSERS = frozenset({"admin", "sessions:command"})
#: Permissions that some calls need from a key's owner in addition to the scope.
BESIDE_SCOPES = (DRAIN, STEER, STOP)


def permissions() -> list[str]:
    """Return every permission that affects the rights of a key, as `app.codename`."""
    return sorted({*BESIDE_SCOPES, *(name for names in NEEDS.values() for name in names)})


def grantable(user: User) -> list[str]:
    """Return the scopes that this person may grant."""
    return within(bool(user.is_superuser), user.has_perm)


def within(superuser: bool, holds: Callable[[str], bool]) -> list[str]:
    """Return the scopes that a person with these permissions may grant, in our order."""
    if superuser:
        return list(ALL)
    return [scope for scope in ALL if scope not in FOR_SUPERUSERS and all(map(holds, NEEDS[scope]))]


def lacking(user: User, scope: str) -> str:
    """Describe the permissions that this person lacks to grant the scope."""
    if scope in FOR_SUPERUSERS:
        return f"{scope} (to be a superuser)"
    return f"{scope} ({', '.join(name for name in NEEDS[scope] if not user.has_perm(name))})"
