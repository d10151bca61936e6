"""The scopes that an API key can hold, and who may put them into one."""

from __future__ import annotations

from collections.abc import Callable

from accounts.models import User

ALL = (
    "admin",
    "approvals:ask",
    "approvals:decide",
    "approvals:read",
    "feed:read",
    "mailboxes:read",
    "mailboxes:write",
    "quarantine:read",
    "quarantine:write",
    "sessions:command",
    "sessions:read",
    "sessions:write",
)
#: A key never gives more than its owner could do in person. What is not named here, whoever sees the project may grant.
NEEDS = {
    "approvals:decide": "approvals.decide",
    "approvals:read": "approvals.view_approval",
    "feed:read": "ledger.view_event",
    "mailboxes:read": "mailbox.view_message",
    "quarantine:read": "mailbox.inspect_quarantine",
    "quarantine:write": "mailbox.requeue",
    "sessions:read": "orchestration.view_session",
    "sessions:write": "orchestration.change_session",
}
FOR_SUPERUSERS = frozenset({"admin", "sessions:command"})


def grantable(user: User) -> list[str]:
    """The scopes that this person may put into a key."""
    return within(bool(user.is_superuser), user.has_perm)


def within(superuser: bool, holds: Callable[[str], bool]) -> list[str]:
    """The scopes that somebody with these rights may grant, in our order."""
    if superuser:
        return list(ALL)
    mine = (scope for scope in ALL if scope not in FOR_SUPERUSERS)
    return [scope for scope in mine if scope not in NEEDS or holds(NEEDS[scope])]
