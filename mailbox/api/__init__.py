"""The REST calls of mailboxes."""
