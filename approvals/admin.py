"""The admin pages of approvals. Importing this module registers them."""

from approvals.adminsite import approvals

__all__ = ["approvals"]
