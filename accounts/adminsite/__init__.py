"""Keys and permissions in the admin, and the base of every admin page."""
