"""Removing what is no longer needed: rows and working folders."""
