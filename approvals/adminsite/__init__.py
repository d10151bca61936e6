"""Approvals in the admin."""
