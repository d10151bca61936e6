"""The admin pages of the ledger. Importing this module registers them."""

from ledger.adminsite import pages

__all__ = ["pages"]
