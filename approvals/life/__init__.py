"""What may happen to a request while it is pending. Nothing here answers it."""
