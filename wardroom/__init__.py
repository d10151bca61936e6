"""Wardroom's SDK: what a child, an integrator and the keeper import.

Importing this package costs the standard library only: the keeper runs in places where nothing else should be
loaded, so every name below is fetched when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wardroom.child import Cancelled, Child, Decision
    from wardroom.client import Client

__version__ = "0.1.0"

__all__ = ["Cancelled", "Child", "Client", "Decision"]

_HOMES = {
    "Cancelled": "wardroom.child",
    "Child": "wardroom.child",
    "Client": "wardroom.client",
    "Decision": "wardroom.child",
}


def __getattr__(name: str) -> Any:
    """Import the home of a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'wardroom' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
