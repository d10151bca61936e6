"""The scopes that an API key can hold."""

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
