"""The admin pages of approvals. Importing this module registers them."""

from approvals.adminsite import approvals, grants

__all__ = ["approvals", "grants"]
