"""Whole Wardrooms by `manage.py up`."""

from tests.servers.embedded_houses import houses, only_embedded

__all__ = ["houses", "only_embedded"]
