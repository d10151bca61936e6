"""Import a library that only an extra of this package installs."""

import importlib
from typing import Any


class MissingExtra(ImportError):
    """A library is not installed. The text names the extra that installs it."""


def require(module: str, extra: str) -> Any:
    """Import a module. Raises MissingExtra when its library is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        name = (error.name or module).partition(".")[0]
        raise MissingExtra(f"{name} is not installed: pip install 'wardroom[{extra}]'", name=name) from None
