"""Wardroom's SDK: the package for children, integrators and the supervisor of a child.

Importing it loads only the standard library. The supervisor runs in places where nothing else should be loaded, so each
name below is imported on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wardroom.approvals import ApprovalSink, AsyncApprovalSink
    from wardroom.async_client import AsyncClient
    from wardroom.child import Cancelled, Child, Decision
    from wardroom.client import Client
    from wardroom.gate import NotApproved, human_as_tool, require_approval

__version__ = "0.1.0"

__all__ = [
    "ApprovalSink",
    "AsyncApprovalSink",
    "AsyncClient",
    "Cancelled",
    "Child",
    "Client",
    "Decision",
    "NotApproved",
    "human_as_tool",
    "require_approval",
]

_HOMES = {
    "ApprovalSink": "wardroom.approvals",
    "AsyncApprovalSink": "wardroom.approvals",
    "AsyncClient": "wardroom.async_client",
    "Cancelled": "wardroom.child",
    "Child": "wardroom.child",
    "Client": "wardroom.client",
    "Decision": "wardroom.child",
    "NotApproved": "wardroom.gate",
    "human_as_tool": "wardroom.gate",
    "require_approval": "wardroom.gate",
}


def __getattr__(name: str) -> Any:
    """Import the module of a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'wardroom' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
