"""The admin pages of the ledger. Importing this module registers them."""

from ledger.adminsite import deliveries, pages, webhooks

__all__ = ["deliveries", "pages", "webhooks"]
