"""Messages from other systems."""
