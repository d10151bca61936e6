"""Webhooks by the conventions of Standard Webhooks: receivers, signatures, and addresses that may be called."""
