"""Every address of the admin, filled in from the URLconf, and the parts of a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import User
from tests.adminsite.planting import Planted

PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
REGEX_PARAMETER = re.compile(r"\(\?P<(\w+)>[^)]*\)")


@dataclass(frozen=True)
class Address:
    """One address, the name of its view, and the model that it is about."""

    path: str
    name: str
    model: type[Model] | None
    route: str


def addresses(planted: Planted, person: User) -> list[Address]:
    """Every address under /admin/, about this project's rows. One that nobody can fill in is an error."""
    found = []
    for route, name in _routes(get_resolver().url_patterns):
        if route.startswith("admin/"):
            found.append(_filled(route, name, planted, person))
    return found


def _routes(patterns: Any, before: str = "") -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route, pattern.name or ""


def _filled(route: str, name: str, planted: Planted, person: User) -> Address:
    if "^" in route or "(?P" in route:
        filled = REGEX_PARAMETER.sub(lambda match: {"app_label": "orchestration", "url": "nowhere/"}[match[1]], route)
        return Address("/" + filled.replace("^", "").replace("$", ""), name, None, route)
    model = _model(route)
    row = planted.rows.get(model) if model else None
    if model is not None and model.__name__ in ("User", "Group"):
        row = person if model is User else person.groups.first()
    values = {
        "content_type_id": str(ContentType.objects.get_for_model(User).pk),
        **({"id": str(row.pk), "object_id": str(row.pk)} if row is not None else {"object_id": str(person.pk)}),
    }

    def value(match: re.Match[str]) -> str:
        if match[1].endswith("_id") and match[1] not in values and row is not None:
            return str(row.pk)
        return values[match[1]]

    return Address("/" + PARAMETER.sub(value, route), name, model, route)


def _model(route: str) -> type[Model] | None:
    parts = route.split("/")
    if len(parts) < 4 or parts[1] not in apps.app_configs:
        return None
    return apps.get_model(parts[1], parts[2])


@dataclass
class Page(HTMLParser):
    """The elements of a page, each with its attributes."""

    html: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._within = ""
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = tag

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style") and data.strip():
            self.inline.append(f"<{self._within}> {data.strip()[:80]}")

    def faults(self) -> list[str]:
        """Return the parts that a strict policy would block, and parts that only planted text can have made."""
        found = list(self.inline)
        for tag, attributes in self.elements:
            found += [f"{tag} {name}" for name in attributes if name.startswith("on") or name == "style"]
            if tag in ("style", "iframe", "object", "embed", "planted"):
                found.append(tag)
            if tag == "script" and not (attributes.get("src") or "").startswith(("/static/", "/admin/jsi18n/")):
                found.append(f"script {attributes.get('src')}")
            address = attributes.get("href") or attributes.get("action") or attributes.get("src") or ""
            if re.match(r"\s*(javascript|vbscript|data|https?|//)", address, re.IGNORECASE):
                found.append(f"{tag} to {address[:60]}")
        return found
