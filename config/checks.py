"""`manage.py check --deploy`: checks of a deployed Wardroom that Django's own checks lack."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register

from accounts import scopes
from approvals.notify import chat
from config.brokers import FORGETFUL
from core.limits import LIMITS
from orchestration.runners import registry


@register(Tags.security)
def permissions(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Report scopes with a permission that no model declares. Only superusers could grant such a scope."""
    declared: set[str] = set()
    for meta in (model._meta for model in apps.get_models()):
        names = [f"{action}_{meta.model_name}" for action in meta.default_permissions]
        names += [name for name, _ in meta.permissions]
        declared |= {f"{meta.app_label}.{name}" for name in names}
    missing = sorted(set(scopes.permissions()) - declared)
    return [
        Error(
            f"No model declares the permission {name}, which the scopes of API keys need.",
            hint="Declare it in the Meta of its model, or correct accounts/scopes.py.",
            id="wardroom.E008",
        )
        for name in missing
    ]


@register(Tags.compatibility)
def runner_plugins(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Report runner plug-ins that cannot be used, and names that no installed package has."""
    found: list[CheckMessage] = [
        Warning(
            f"The runner {name} cannot be used here: {why}",
            hint="Repair or remove its package. Until then its sessions stay queued.",
            id="wardroom.W009",
        )
        for name, why in registry.failures()
    ]
    named = {"WARDROOM_RUNNERS": settings.WARDROOM_RUNNERS}
    named |= {f"the role {name}": [role["runner"]] for name, role in LIMITS.roles.items() if "runner" in role}
    return found + [
        Warning(
            f"There is no runner {name!r}, which {where} names.",
            hint=f"Known runners are: {', '.join(registry.known())}.",
            id="wardroom.W010",
        )
        for where, names in named.items()
        for name in names
        if name not in registry.known()
    ]


@register(Tags.compatibility)
def chat_rooms(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Report chat rooms that no message can reach. A finding never holds the address of a room."""
    if settings.CHAT_URLS and not chat.is_installed():
        return [
            Warning(
                "CHAT_URLS names chat rooms, and apprise is not installed.",
                hint=f"Run: {chat.INSTALL}",
                id="wardroom.W011",
            )
        ]
    return [
        Warning(
            f"The chat room {name[: chat.LONGEST_NAME]!r} of CHAT_URLS cannot be used.",
            hint=f"Its name has at most {chat.LONGEST_NAME} characters, and its address is one that apprise knows.",
            id="wardroom.W012",
        )
        for name, url in settings.CHAT_URLS.items()
        if len(name) > chat.LONGEST_NAME or not chat.is_usable(url)
    ]


@register(Tags.security, deploy=True)
def deployment(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Report all findings at once. Each one gives a cure."""
    return [*parts(), *address(), *surroundings()]


def parts() -> Iterator[CheckMessage]:
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        yield Error(
            "DATABASE_URL names SQLite: a platform deletes the file, and two hosts cannot share it.",
            hint="Name a PostgreSQL.",
            id="wardroom.E001",
        )
    if urlsplit(settings.BROKER_URL).scheme.partition("+")[0] in FORGETFUL:
        yield Error(
            "The queue would be lost with its process, or no other process could read it.",
            hint="Name a Redis in REDIS_URL, or a RabbitMQ in BROKER_URL.",
            id="wardroom.E002",
        )


def address() -> Iterator[CheckMessage]:
    url = urlsplit(settings.WARDROOM_URL)
    if url.scheme != "https":
        yield Warning(
            "WARDROOM_URL is not https: passwords, keys and children's tokens would be sent unencrypted.",
            hint="Enable HTTPS at the router, and use https:// in WARDROOM_URL.",
            id="wardroom.W003",
        )
    if "*" in settings.ALLOWED_HOSTS:
        yield Warning("ALLOWED_HOSTS is *: any Host header is accepted.", hint="Unset it.", id="wardroom.W004")


def surroundings() -> Iterator[CheckMessage]:
    if settings.EMBEDDED:
        yield Error("WARDROOM_EMBEDDED is for `manage.py up` only.", hint="Unset it.", id="wardroom.E005")
    if "ssl_cert_reqs=none" in settings.REDIS_URL.lower():
        yield Info(
            "An attacker between this host and Redis can read and write its data (REDIS_TLS_VERIFY=0).",
            hint="If the platform has its own certificate authority: ?ssl_ca_certs=/path/to/ca.pem in REDIS_URL.",
            id="wardroom.I006",
        )


@register(Tags.staticfiles, deploy=True)
def style(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Report missing static files: every page of the admin would be an error."""
    if settings.EMBEDDED or (Path(settings.STATIC_ROOT) / "staticfiles.json").exists():
        return []
    return [
        Info(
            f"No collected static files in {settings.STATIC_ROOT}: the admin answers 500 without them.",
            hint="Run `manage.py collectstatic --noinput` during the build (Heroku does this automatically).",
            id="wardroom.I007",
        )
    ]
