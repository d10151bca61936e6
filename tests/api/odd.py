"""Values that no caller means, and every place of an address where one can stand."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import yaml
from django.contrib import admin
from django.urls import URLPattern, URLResolver, get_resolver

from tests.house.sources import ROOT

NEVER = "00000000-0000-4000-8000-000000000000"


def _cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


#: Percent-encoded already. Each stands for a kind.
ODD = {
    "empty": "",
    "nul": "%00",
    "nul within": "a%00b",
    "not utf-8": "%FF%FE",
    "lone surrogate": "%ED%A0%80",
    "long number": "9" * 5000,
    "large number": "9" * 18,
    "number beyond 64 bits": str(2**64),
    "negative number": "-1",
    "overflowing float": "1e400",
    "not a number": "nan",
    "digit of another script": quote("²"),
    "digits of another script": quote("٣٤"),
    "open bracket": "(",
    "bare star": "*",
    "deep cursor": _cursor("[" * 30_000),
    "cursor of huge numbers": _cursor(f"[{10**400}, {10**400}]"),
    "cursor of dates": _cursor(json.dumps(["0001-01-01T00:00:00+23:59", NEVER])),
    "cursor of late dates": _cursor(json.dumps(["9999-12-31T23:59:59-23:59", NEVER])),
    "cursor of surrogates": _cursor(json.dumps(["\ud800", "\ud800"])),
    "cursor of truths": _cursor("[true, false]"),
    "cursor of one": _cursor("[1]"),
    "cursor of a number": _cursor(f"[{2**63}]"),
    "upper-case UUID": NEVER.upper(),
    "UUID in braces": quote(f"{{{NEVER}}}"),
    "UUID in digits of another script": quote("\u0660" * 8 + NEVER[8:]),
    "a date of year 0": "0000-00-00",
    "traversal": quote("../../etc/passwd", safe=""),
    "dots": "%2E%2E",
    "slash": "a%2Fb",
    "backslash": "%5C",
    "quotes": quote("\"'`;--"),
    "percent": "%25%25s",
    "right to left": quote("\u202e"),
    "many commas": "," * 3000,
    "long text": "a" * 20_000,
    "line breaks": "%0D%0AX-Injected:%201",
}


#: Those that mean the same to each database, or that none ever sees: they are tried beside SQLite only.
ALIKE = {
    "empty",
    "nul within",
    "upper-case UUID",
    "UUID in braces",
    "bare star",
    "deep cursor",
    "cursor of one",
    "digits of another script",
    "traversal",
    "dots",
    "slash",
    "right to left",
    "line breaks",
}


def kinds(backend: str) -> dict[str, str]:
    """Return each kind that may mean something else on this backend."""
    return ODD if backend == "sqlite" else {kind: ODD[kind] for kind in ODD if kind not in ALIKE}


#: Those that a page of the admin may stumble over; each of its parameters gets them.
FOR_STAFF = (
    "empty",
    "nul",
    "long number",
    "number beyond 64 bits",
    "open bracket",
    "not utf-8",
    "many commas",
    "quotes",
)


def rest() -> Iterator[tuple[str, dict[str, str], list[str]]]:
    """Each GET of the document: its path, its path parameters by name, and its query parameters."""
    document = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
    for path, operations in document["paths"].items():
        if "get" in operations:
            named = operations["get"].get("parameters", [])
            inside = {each["name"]: each["schema"].get("format", "") for each in named if each["in"] == "path"}
            yield path, inside, [each["name"] for each in named if each["in"] == "query"]


def posts() -> Iterator[tuple[str, list[str]]]:
    """Each POST of the document, and its path parameters."""
    document = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
    for path, operations in document["paths"].items():
        if "post" in operations:
            yield path, re.findall(r"{(\w+)}", path)


def admin_lists() -> list[str]:
    """Each list of the admin."""
    return [f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry]


def admin_names() -> set[str]:
    """Every parameter that lists of the admin read, or might be fooled into reading, whatever their model is."""
    own = {"q", "o", "p", "all", "page", "version", "status", "state", "source", "runner", "project", "session", "tool"}
    stock = {"_popup", "_to_field", "_changelist_filters", "risk", "created_at__gte", "sent_at__isempty", "action"}
    return own | stock | {f"pk__{lookup}" for lookup in ("exact", "regex", "gt", "in", "isnull", "range", "year")}


def admin_fields(path: str) -> set[str]:
    """The fields of the model of a list, each of which may be a parameter too."""
    model = next(model for model in admin.site._registry if path.endswith(f"/{model._meta.model_name}/"))
    return {field.name for field in model._meta.get_fields() if field.concrete} - admin_names()


def admin_addresses() -> Iterator[str]:
    """Every route of the admin, with `{}` where something is to be put in."""
    for route in _routes(get_resolver().url_patterns):
        if route.startswith("admin/"):
            plain = re.sub(r"\(\?P<\w+>[^)]*\)|<[^>]*>", "{}", route)
            yield "/" + plain.replace("^", "").replace("$", "")


def _routes(patterns: Any, before: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route
