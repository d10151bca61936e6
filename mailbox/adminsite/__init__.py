"""Messages and quarantine in the admin."""
