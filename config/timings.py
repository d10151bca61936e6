"""The values of `WARDROOM_TIMINGS`: the type and bounds of each entry. An error is one line."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.defaults import MIB, WARDROOM

NAME = "WARDROOM_TIMINGS"
DAY = 86400.0

#: Lowest and highest values that the suffix of a name does not decide.
BOUNDS: dict[str, tuple[float, float]] = {
    "retries": (0, 100),
    "spawn_depth": (0, 64),
    "max_depth": (2, 512),
    # The web process starts with a limit of 2 MiB for a frame.
    "max_frame_bytes": (4096, 2 * MIB),
    "kill_grace_secs": (0, 300),
    "cancel_grace_secs": (0, 3600),
    "connection_grace_secs": (0, 30 * DAY),
    "held_call_secs": (0.05, 300),
    "hello_secs": (0.05, 300),
    "send_timeout_secs": (0.05, 300),
    "wakeup_timeout_secs": (0.01, 60),
    "heartbeat_secs": (0.05, 300),
    "sweep_secs": (0.05, 600),
    "slow_sweep_secs": (0.05, 600),
    "retention_sweep_secs": (0.05, 3600),
}
#: Pairs of entries: the first must be less than the second.
ORDER = (("heartbeat_secs", "heartbeat_lease_secs"), ("supervisor_alive_secs", "supervisor_orphan_secs"))
ROLE: dict[str, type] = {
    "command": list,
    "runner": str,
    "retries": int,
    "env": dict,
    "scopes": list,
    "cwd": str,
    "addresses": list,
}


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with these entries replaced. Raises ImproperlyConfigured that names the entry."""
    for name, value in given.items():
        if why := next(_faults(name, value), None):
            raise ImproperlyConfigured(f"{NAME}: {why}")
    settings = WARDROOM | dict(given)
    for less, more in ORDER:
        if not settings[less] < settings[more]:
            raise ImproperlyConfigured(
                f"{NAME}: {less} is {settings[less]!r}, but must be less than {more}, which is {settings[more]!r}"
            )
    return settings


def bounds(name: str) -> tuple[float, float]:
    """Return the lowest and the highest value of a numeric setting."""
    if name in BOUNDS:
        return BOUNDS[name]
    if name.startswith("keep_") and name.endswith("_secs"):
        return 0, 3650 * DAY
    if name.endswith("_secs"):
        return 0.05, 400 * DAY
    if "_bytes" in name:
        return 1, 1024 * MIB
    return (1 if isinstance(WARDROOM[name], int) and WARDROOM[name] else 0), 10_000_000


def _faults(name: str, value: Any) -> Iterator[str]:
    if name not in WARDROOM:
        near = difflib.get_close_matches(name, WARDROOM, 1)
        yield f"there is no setting {_shown(name)}" + (f"; did you mean {near[0]!r}?" if near else "")
    elif name == "roles":
        yield from _role_faults(value)
    elif isinstance(WARDROOM[name], list):
        if not _texts(value):
            yield f"{name} is {_shown(value)}; use a list of texts"
    elif isinstance(WARDROOM[name], int | float) and not isinstance(WARDROOM[name], bool):
        low, high = bounds(name)
        whole = not name.endswith("_secs") and isinstance(WARDROOM[name], int)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or (isinstance(value, float) and (whole or not math.isfinite(value))):
            yield f"{name} is {_shown(value)}; use a {'whole ' if whole else ''}number"
        elif not low <= value <= high:
            yield f"{name} is {_shown(value)}; use a number from {low:g} to {high:.0f}"
    elif type(value) is not type(WARDROOM[name]):
        yield f"{name} is {_shown(value)}; use a value like {_shown(WARDROOM[name])}"


def _role_faults(roles: Any) -> Iterator[str]:
    if not isinstance(roles, dict):
        yield f"roles is {_shown(roles)}; use an object of roles by name"
        return
    for name, role in roles.items():
        if not isinstance(role, dict):
            yield f"the role {name!r} is {_shown(role)}; use an object with its command"
            return
        for key, value in role.items():
            if key not in ROLE:
                yield f"the role {name!r} has an unknown entry {_shown(key)}; known are {', '.join(ROLE)}"
            elif not isinstance(value, ROLE[key]) or isinstance(value, bool):
                yield f"{key} of the role {name!r} is {_shown(value)}; use a {_KINDS[ROLE[key]]}"
            elif isinstance(value, list) and not (_texts(value) and (value or key != "command")):
                yield f"{key} of the role {name!r} is {_shown(value)}; use a list of texts"
            elif isinstance(value, dict) and not _texts([*value.values()]):
                yield f"{key} of the role {name!r} is {_shown(value)}; use an object of texts"
            elif key == "retries" and isinstance(value, int) and not 0 <= value <= BOUNDS["retries"][1]:
                yield f"retries of the role {name!r} is {_shown(value)}; use a number from 0 to 100"


_KINDS: dict[type, str] = {list: "list of texts", str: "text", int: "whole number", dict: "object of texts"}


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and "\0" not in each for each in value)


def _shown(value: Any) -> str:
    """Return a value for an error line: short, also for thousands of digits."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
