"""The REST calls of approvals."""
