"""Tell people about requests, by mail and chat. No message carries a right: its links find the request."""
