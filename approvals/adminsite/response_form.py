"""The fields of a response, drawn from the schema that the asker gave, and the response that they send back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.display import redaction
from core.display.redaction import redacted

PREFIX = "response:"
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
#: A text with more characters than this gets several lines.
LINE = 200


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form. `options` are pairs of a value as it is sent, and its text."""

    id: str
    name: str
    label: str
    description: str
    widget: str
    required: bool
    options: tuple[tuple[str, str], ...]
    value: str
    hint: str
    longest: int | None


def fields(schema: Mapping[str, Any], typed: Mapping[str, str]) -> list[Field]:
    """Return the fields of a form, with the values that were typed before a refusal."""
    required = schema.get("required", [])
    found = []
    for number, (name, field) in enumerate(schema["properties"].items()):
        options = _options(name, field)
        kind = field.get("type", "string")
        longest = field.get("maxLength")
        long = kind == "string" and (longest is None or longest > LINE)
        found.append(
            Field(
                id=f"ap-response-{number}",
                name=f"{PREFIX}{name}",
                label=redacted(field.get("title") or name),
                description=redacted(field.get("description", "")),
                widget="choice"
                if options
                else "number"
                if kind in ("number", "integer")
                else "lines"
                if long
                else "text",
                required=name in required,
                options=options,
                value=typed.get(f"{PREFIX}{name}", ""),
                hint=_hint(kind, field),
                longest=longest if kind == "string" else None,
            )
        )
    return found


def response(schema: Mapping[str, Any], posted: Mapping[str, str]) -> dict[str, Any]:
    """Return the response that a form sends. An empty field is absent; a value of a wrong form stays a text.

    The operation checks it against the schema, as it checks every other response.
    """
    found = {}
    for name, field in schema["properties"].items():
        raw = posted.get(f"{PREFIX}{name}", "").replace("\r\n", "\n")
        if raw == "":
            continue
        kind = field.get("type", "string")
        if _values(field):
            chosen = dict(_values(field))
            found[name] = chosen.get(raw, raw)
        elif kind in ("number", "integer") and NUMBER.fullmatch(raw.strip()):
            value = json.loads(raw.strip())
            found[name] = (
                int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
            )
        else:
            found[name] = raw
    return found


def _values(field: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return each value of a choice with the text that stands for it in the form: numbers, not the values."""
    values = field.get("enum")
    if values is None and field.get("type") == "boolean":
        values = [True, False]
    return [(str(number), value) for number, value in enumerate(values or [])]


def _options(name: str, field: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    words, found = {True: "yes", False: "no"}, _values(field)
    hides = name if redaction.is_secret(name) else ""
    shown = redaction.Copy().of([value for _, value in found], (), is_named=True, secret=hides)
    return tuple(
        (number, words[value] if isinstance(value, bool) else value if isinstance(value, str) else json.dumps(value))
        for (number, _), value in zip(found, shown, strict=True)
    )


def _hint(kind: str, field: Mapping[str, Any]) -> str:
    least, most = (
        field.get(name) for name in (("minLength", "maxLength") if kind == "string" else ("minimum", "maximum"))
    )
    what = {"integer": "a whole number", "number": "a number"}.get(kind, "")
    unit = " characters" if kind == "string" and (least is not None or most is not None) else ""
    between = f"{least} to {most}" if None not in (least, most) else ""
    between = between or (f"at least {least}" if least is not None else f"at most {most}" if most is not None else "")
    return ", ".join(part for part in (what, f"{between}{unit}") if part)
