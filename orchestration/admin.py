"""The admin pages of orchestration. Importing this module registers them."""

from orchestration.adminsite import sessions

__all__ = ["sessions"]
