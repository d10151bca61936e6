"""Choose the model of an attempt, and route it to a provider, once for each attempt.

The choice: the session's own provider and model when both are given; else the provider that its metadata names
(`provider_name`) with the session's model; else none. Texts count if they are not blank and have at most 200
characters. Without a model, and when the router fails, the child's runtime uses its own provider.

An installation may have one router: a class at the entry point `wardroom.providers`, built without arguments. Without
one, `WARDROOM_PROVIDERS` names the known providers and their types; if that is empty, every provider is known.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import asdict, dataclass
from importlib import metadata as packages
from typing import Any, Protocol

from django.conf import settings

from core.display.text import shortened
from ledger import unit_of_work
from orchestration.models import Attempt
from wardroom import strict

log = logging.getLogger(__name__)

GROUP = "wardroom.providers"
ROUTE_SECS = 5.0
#: After a router that did not answer, sessions do without it for this long: each call would block a thread.
BRAKE_SECS = 30.0
#: Calls of the router at once: half of the threads that serve connections. A further call waits a second for its turn.
MOST_ROUTES, TURN_SECS = 4, 1.0
ERROR_CHARACTERS = 500
#: Characters of a provider or a model.
LONGEST = 200

_free = threading.BoundedSemaphore(MOST_ROUTES)
_silent_until = 0.0


class RouteRefused(Exception):
    """Our own refusal of a route. Its text is public; that of a router's exception may hold a secret."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A provider and a model, by their names."""

    provider: str
    model: str


class Router(Protocol):
    """Routes models to providers. An exception of either method means that the model cannot be used."""

    def provider_type_for(self, ref: ModelRef) -> str | None:
        """Return the type of the provider, for example the API that it speaks. None when that is not known."""

    def route(self, ref: ModelRef) -> ModelRef:
        """Return the provider and the model to use. Raises an exception when there is none."""


class ConfiguredProviders:
    """The plain router: `WARDROOM_PROVIDERS`, a mapping of provider names to types."""

    def __init__(self, types: Mapping[str, str]) -> None:
        self._types = types

    def provider_type_for(self, ref: ModelRef) -> str | None:
        """Return the configured type."""
        return self._types.get(ref.provider)

    def route(self, ref: ModelRef) -> ModelRef:
        """Return the model unchanged. Raises RouteRefused for an unknown provider."""
        if self._types and ref.provider not in self._types:
            raise RouteRefused(f"there is no provider {ref.provider!r}; known are {', '.join(sorted(self._types))}")
        return ref


def chosen(options: Mapping[str, Any], metadata: Mapping[str, Any]) -> ModelRef | None:
    """Return the model that the session asks for, or None."""
    model = _text(options.get("model"))
    provider = _text(options.get("provider")) or _text(metadata.get("provider_name"))
    return ModelRef(provider, model) if provider and model else None


def resolve(attempt: Attempt) -> dict[str, Any] | None:
    """Return `{provider, model, provider_type}` for this attempt, or None, and store it once.

    A router that fails or hangs is logged and becomes a `provider_fallback` event; the result is None then. The child
    reads the event, so the text of the router's exception is in the log alone.
    """
    if attempt.model is not None:
        return attempt.model or None
    session = attempt.session
    ref = chosen(session.options, session.metadata)
    if ref is None:
        return None
    found, error = {}, ""
    try:
        found = _routed(ref)
    except Exception as failure:
        text = f"{type(failure).__name__}: {failure}"
        log.warning("session %s: provider %s cannot route model %s: %s", session.pk, ref.provider, ref.model, text)
        is_ours = isinstance(failure, RouteRefused)
        error = shortened(str(failure) if is_ours else type(failure).__name__, ERROR_CHARACTERS)
    with unit_of_work.transaction():
        first = Attempt.objects.filter(pk=attempt.pk, model__isnull=True).update(model=found)
        if first and error:
            payload = {**asdict(ref), "error": error}
            unit_of_work.event(
                session.project_id, "provider_fallback", payload, session=session.pk, attempt=attempt.number
            )
    return found or None


def _routed(ref: ModelRef) -> dict[str, Any]:
    """Ask the router in a thread of its own: code of others must not hold up the work of everybody else."""
    global _silent_until
    if time.monotonic() < _silent_until:
        raise RouteRefused("the router did not answer a moment ago")
    if not _free.acquire(timeout=TURN_SECS):
        raise RouteRefused(f"{MOST_ROUTES} calls of the router have no answer yet")

    def ask() -> dict[str, Any]:
        try:
            routed = router().route(ref)
            kind = router().provider_type_for(routed)
            found = {"provider": routed.provider, "model": routed.model, "provider_type": kind}
            # What the row or the frame of the run refuses would close each connection of the attempt.
            wrong = [
                name
                for name, value in found.items()
                if not _text(value) and (value is not None or name != "provider_type")
            ]
            if wrong:
                raise RouteRefused(f"the router gave no usable text as {', '.join(wrong)}")
            return found
        except BaseException as error:
            if isinstance(error, Exception):
                raise
            # A `SystemExit` would end the event loop that waits for this run.
            raise RuntimeError(f"the router raised {type(error).__name__}") from error
        finally:
            _free.release()

    try:
        return _pool().submit(ask).result(ROUTE_SECS)
    except NotInTime:
        _silent_until = time.monotonic() + BRAKE_SECS
        raise RouteRefused(f"the router did not answer in {ROUTE_SECS:g} s") from None


@functools.cache
def router() -> Router:
    """Return the router of this installation. Raises RouteRefused when several are installed."""
    found = list(packages.entry_points(group=GROUP))
    if not found:
        return ConfiguredProviders(settings.WARDROOM_PROVIDERS)
    if len(found) > 1:
        raise RouteRefused(f"several packages have an entry point {GROUP}: {', '.join(each.value for each in found)}")
    made: Router = found[0].load()()
    return made


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_ROUTES, thread_name_prefix="router")


def _text(value: Any) -> str:
    """Return the trimmed text; nothing for what is no text, cannot be stored, or is longer than a name may be."""
    usable = isinstance(value, str) and len(value) <= LONGEST and strict.is_storable(value)
    return value.strip() if usable else ""
