"""Approvals as tools of the Model Context Protocol: `python -m wardroom.mcp` (the extra `mcp`)."""
