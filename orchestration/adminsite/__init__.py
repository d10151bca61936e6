"""The admin pages of sessions, and the dashboard."""
