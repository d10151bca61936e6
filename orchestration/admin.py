"""Orchestration's pages in the admin. Importing it registers them."""

__all__ = ["admin_sessions"]
