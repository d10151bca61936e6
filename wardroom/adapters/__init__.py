"""Approvals before the tools of other frameworks. Each adapter needs its extra of this package."""
