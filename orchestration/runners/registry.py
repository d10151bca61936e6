"""The registry of runners: `process`, `external`, and those of installed packages (entry point `wardroom.runners`).

A session that names no runner, and whose role names none, goes to the first plug-in whose `should_handle` says yes.
`WARDROOM_RUNNERS` names the order; plug-ins that it does not name follow, by name. Without a yes it is a process.

The names come from the metadata of packages alone. So a plug-in that cannot be imported is still known, and its
sessions wait for a host that can import it. Code of a plug-in runs here only in a thread of its own, with a deadline.
"""

from __future__ import annotations

import functools
import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping
from importlib import metadata as packages

from django.conf import settings

from orchestration.states import LONGEST_RUNNER, Runner
from wardroom import runners

log = logging.getLogger(__name__)

#: A plug-in has this long to answer `should_handle`, its import included.
ASK_SECS = 2.0
#: A plug-in that did not answer is not asked for this long: each question would block a thread.
BRAKE_SECS = 30.0
#: Questions to one plug-in at once. A further one counts as no.
MOST_QUESTIONS = 4
NAME = re.compile(rf"[a-z][a-z0-9._-]{{0,{LONGEST_RUNNER - 1}}}")

_lock = threading.Lock()
_silent_until: dict[str, float] = {}
_open: dict[str, int] = {}


@functools.cache
def plugins() -> Mapping[str, packages.EntryPoint]:
    """Return the plug-ins by name, in the order in which they are asked."""
    found: dict[str, packages.EntryPoint] = {}
    refused: set[str] = set()
    for point in packages.entry_points(group=runners.GROUP):
        if point.name in Runner.values or not NAME.fullmatch(point.name):
            log.error("the runner %r (%s) is left out: its name is taken or malformed", point.name, point.value)
        elif point.name in found and found[point.name].value != point.value:
            refused.add(point.name)
        else:
            found[point.name] = point
    for name in refused:
        log.error("the runner %r is left out: several packages have it", name)
        del found[name]
    order = list(settings.WARDROOM_RUNNERS)
    ranked = sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))
    return {name: found[name] for name in ranked}


def known() -> list[str]:
    """Return the names of all runners of this server."""
    return [*Runner.values, *plugins()]


@functools.cache
def load(name: str) -> runners.Runner:
    """Import a plug-in and build its runner, once for each process. Raises whatever its code raises.

    Raises LookupError for an unknown name, TypeError for a class that is no runner.
    """
    if name not in plugins():
        raise LookupError(f"no installed package has a runner {name!r}")
    made = plugins()[name].load()()
    if not isinstance(made, runners.Runner):
        raise TypeError(f"{plugins()[name].value} has no should_handle and execute")
    return made


def failures() -> Iterator[tuple[str, str]]:
    """Yield each plug-in that cannot be used here, with the reason."""
    for name in plugins():
        try:
            load(name)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            yield name, f"{type(error).__name__}: {error}"


def asked(session: runners.NewSession) -> str | None:
    """Return the first plug-in that takes the session, or None."""
    return next((name for name in plugins() if _takes(name, session)), None)


def _takes(name: str, session: runners.NewSession) -> bool:
    """Ask one plug-in, in a thread: code of others must not hold up a spawn, nor end the web process."""
    with _lock:
        if time.monotonic() < _silent_until.get(name, 0.0) or _open.get(name, 0) >= MOST_QUESTIONS:
            return False
        _open[name] = _open.get(name, 0) + 1

    said: list[bool] = []

    def ask() -> None:
        try:
            said.append(load(name).should_handle(session) is True)
        except BaseException as error:
            log.warning("the runner %s cannot say if it takes a session: %s: %s", name, type(error).__name__, error)
            said.append(False)
        finally:
            with _lock:
                _open[name] = max(0, _open.get(name, 0) - 1)

    # A daemon: a plug-in that never answers must not hold up the end of this process either.
    thread = threading.Thread(target=ask, name=f"runner-{name}", daemon=True)
    thread.start()
    thread.join(ASK_SECS)
    if said:
        return said[0]
    log.warning("the runner %s did not say in %g s if it takes a session", name, ASK_SECS)
    _silent_until[name] = time.monotonic() + BRAKE_SECS
    return False
