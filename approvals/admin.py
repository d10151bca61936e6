"""The admin pages of approvals. Importing this module registers them."""

from approvals.adminsite import approvals, grants, reviewers, rules

__all__ = ["approvals", "grants", "reviewers", "rules"]
