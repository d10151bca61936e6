"""The admin pages of the mailbox. Importing this module registers them."""

from mailbox.adminsite import messages, quarantine

__all__ = ["messages", "quarantine"]
