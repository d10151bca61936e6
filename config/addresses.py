"""Check the addresses in the environment at startup. Each refusal names the variable."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from kombu.transport import TRANSPORT_ALIASES

DATABASES = ("django.db.backends.postgresql", "django.db.backends.sqlite3")


def public(url: str) -> SplitResult:
    """Check `WARDROOM_URL`: a scheme, a host and optionally a port. Raises ImproperlyConfigured."""
    parts = _split("WARDROOM_URL", url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ImproperlyConfigured(f"WARDROOM_URL is {url!r}; use http(s)://host[:port].")
    if not all(sign.isascii() and sign.isprintable() and sign != " " for sign in url):
        raise ImproperlyConfigured(f"WARDROOM_URL is {url!r}; use a host name in ASCII (xn--...), without spaces.")
    if parts.username is not None or parts.password is not None:
        raise ImproperlyConfigured("WARDROOM_URL holds a user name or password; use http(s)://host[:port].")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ImproperlyConfigured(
            f"WARDROOM_URL is {url!r}: it has a path, but Wardroom works only at the root of a host name. "
            "Use a separate host name, such as https://wardroom.example.com."
        )
    return parts


def database(url: str) -> dict[str, Any]:
    """Return `DATABASE_URL` as Django's settings. Raises ImproperlyConfigured, without the password."""
    _split("DATABASE_URL", url, shown=False)
    try:
        found = dict(dj_database_url.parse(url, conn_max_age=0))
    except (ValueError, KeyError):
        found = {}
    if found.get("ENGINE") not in DATABASES:
        raise ImproperlyConfigured("DATABASE_URL names neither PostgreSQL nor SQLite; use postgres://user@host/name.")
    return found


def queue(name: str, url: str) -> str:
    """Check a broker's address, or several separated by `;`, as Celery accepts. An empty one stays empty."""
    for each in url.split(";") if url else ():
        kind = _split(name, each, shown=False).scheme.partition("+")[0]
        if kind not in TRANSPORT_ALIASES:
            raise ImproperlyConfigured(f"{name} begins with {kind[:20] or 'no scheme'!r}; use amqp:// or redis://.")
    return url


def mail(url: str) -> dict[str, Any]:
    """Return `EMAIL_URL` as Django's settings. An empty one has no host. Raises ImproperlyConfigured.

    `smtps` is TLS from the start (port 465). `smtp` uses STARTTLS on port 587, or with `?tls=1`.
    """
    parts = urlsplit(checked("EMAIL_URL", url, "smtp", "smtps")) if url else urlsplit("smtp:")
    if url and not parts.hostname:
        raise ImproperlyConfigured("EMAIL_URL names no host; use smtp://user:password@host:587.")
    is_secure = parts.scheme == "smtps"
    port = parts.port or (465 if is_secure else 587)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if set(options) - {"tls"} or options.get("tls", "1") not in ("0", "1"):
        raise ImproperlyConfigured("EMAIL_URL takes only ?tls=1 or ?tls=0.")
    return {
        "EMAIL_HOST": parts.hostname or "",
        "EMAIL_PORT": port,
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": is_secure,
        "EMAIL_USE_TLS": not is_secure and options.get("tls", "1" if port == 587 else "0") == "1",
    }


def rabbitmq(name: str, url: str) -> str:
    """Check a RabbitMQ address. An empty one stays empty."""
    return checked(name, url, "amqp", "amqps") if url else url


def checked(name: str, url: str, *schemes: str) -> str:
    """Check that an address has one of these schemes. `name` is the variable. Raises ImproperlyConfigured."""
    parts = _split(name, url, shown=False)
    if parts.scheme not in schemes:
        wanted = ", ".join(f"{scheme}://" for scheme in schemes)
        raise ImproperlyConfigured(f"{name} begins with {parts.scheme[:20] or 'no scheme'!r}; use one of {wanted}.")
    return url


def _split(name: str, url: str, *, shown: bool = True) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is not an address{f' ({url!r})' if shown else ''}: {error}.") from None
    return parts
