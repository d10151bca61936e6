"""Orchestration's pages in the admin. Importing it registers them."""

from orchestration import admin_sessions

__all__ = ["admin_sessions"]
