"""The REST calls of sessions."""
