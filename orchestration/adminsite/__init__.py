"""Sessions and the dashboard in the admin."""
