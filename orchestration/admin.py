"""Orchestration's pages in the admin. Importing it registers them."""

from orchestration.adminsite import admin_sessions

__all__ = ["admin_sessions"]
