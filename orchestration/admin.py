"""Register the admin pages of orchestration."""

from orchestration.adminsite import sessions

__all__ = ["sessions"]
