"""The data folder of the embedded house: what `manage.py up` wrote there, read back by commands run by hand."""

from __future__ import annotations

import json
import os
from pathlib import Path

URLS = ("DATABASE_URL", "REDIS_URL", "BROKER_URL", "CLOUDAMQP_URL")


def data_folder() -> Path:
    """The folder that holds all of an embedded Wardroom: `WARDROOM_DATA`, or `var` where we stand."""
    return Path(os.environ.get("WARDROOM_DATA") or "var").absolute()


def load() -> None:
    """Take the environment that `up` wrote into its data folder, where the caller's own says nothing.

    Does nothing when any URL is set (then this is a deployment, and a missing one must be refused, not
    filled in), or when the folder holds no such file.
    """
    if any(os.environ.get(name) for name in URLS):
        return
    written = data_folder() / "environment.json"
    try:
        values = json.loads(written.read_text())
    except FileNotFoundError:
        return
    for name, value in values.items():
        os.environ.setdefault(name, value)
