"""The JSON Schema of the Structs that describe bodies and answers. A schema of msgspec's own lacks the rules of here.

A body differs from an answer: null equals absent there, a text holds no NUL, and each member without a default must be
given. An answer has every member, except those that may be `UNSET`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect

from core.web.openapi import values
from core.web.openapi.refusals import Register
from core.web.openapi.values import Schema

Described = type[msgspec.Struct]


def reference(described: Described | tuple[Described, ...], register: Register, *, asked: bool) -> Schema:
    """Store the component of a Struct and of those within it, and return its `$ref`. Several: one of them.

    `asked` is True for the body of a call.
    """
    if isinstance(described, tuple):
        return {"oneOf": [reference(each, register, asked=asked) for each in described]}
    return _Writer(register, asked).schema(inspect.type_info(described))


def is_required(described: Described | tuple[Described, ...]) -> bool:
    """Return True if a call needs a body: not everything in it may be left out."""
    if isinstance(described, tuple) or getattr(described, "rules", {}):
        return True
    return any(field.required for field in msgspec.structs.fields(described))


class _Writer:
    def __init__(self, register: Register, asked: bool) -> None:
        self._register = register
        self._asked = asked
        self._written: set[str] = set()

    def schema(self, kind: Any) -> Schema:
        """Return the schema of a type."""
        match kind:
            case inspect.Metadata():
                extra = kind.extra or {}
                found = extra["schema"] if "schema" in extra else self.schema(kind.type)
                return _described_last({**found, **(kind.extra_json_schema or {})})
            case inspect.UnionType():
                [plain] = (each for each in kind.types if not isinstance(each, inspect.NoneType))
                return _nullable(self.schema(plain))
            case inspect.StructType():
                return self._component(kind)
            case inspect.ListType():
                bounds = _given(minItems=kind.min_length, maxItems=kind.max_length)
                return {"type": "array", **bounds, "items": self.schema(kind.item_type)}
            case inspect.DictType():
                if isinstance(kind.value_type, inspect.AnyType):
                    return values.json_object()
                return {"type": "object", "additionalProperties": self.schema(kind.value_type)}
        return self._plain(kind)

    def _plain(self, kind: Any) -> Schema:
        match kind:
            case inspect.StrType():
                # The strict parser refuses NUL in every body.
                pattern = values.NO_NUL if self._asked else None
                return {
                    "type": "string",
                    **_given(minLength=kind.min_length, maxLength=kind.max_length, pattern=pattern),
                }
            case inspect.BoolType():
                return {"type": "boolean"}
            case inspect.IntType():
                return {"type": "integer", **_given(minimum=kind.ge, maximum=kind.le)}
            case inspect.FloatType():
                return {"type": "number", "format": "double", **_given(minimum=kind.ge, maximum=kind.le)}
            case inspect.UUIDType():
                return {"type": "string", "format": "uuid"}
            case inspect.AnyType():
                return values.any_json()
        raise NotImplementedError(f"{kind} has no schema here")

    def _component(self, kind: inspect.StructType) -> Schema:
        name = kind.cls.__dict__.get("component") or kind.cls.__name__
        if name in self._written:
            return values.reference(name)
        self._written.add(name)
        fields: dict[str, Schema] = {}
        for field in kind.fields:
            schema = self.schema(field.type)
            if self._asked and not self._is_required(field):
                if isinstance(field.default, int | float) and not isinstance(field.default, bool):
                    schema = _described_last({**schema, "default": field.default})
                schema = _nullable(schema)
            fields[field.encode_name] = schema
        required = sorted(field.encode_name for field in kind.fields if self._is_required(field))
        component: dict[str, Any] = {"type": "object"}
        if description := kind.cls.__dict__.get("__doc__"):
            component["description"] = description
        component["properties"] = fields
        component |= {"required": required} if required else {}
        if self._asked:
            # Members that a newer caller adds are read and ignored where a body is open.
            component |= {"additionalProperties": False} if kind.forbid_unknown_fields else values.json_object()
        return self._register("schemas", name, component | getattr(kind.cls, "rules", {}))

    def _is_required(self, field: inspect.Field) -> bool:
        if self._asked or field.required:
            extra = getattr(field.type, "extra", None) or {}
            return field.required or extra.get("required", False)
        # An UNSET default is no default for `inspect`.
        return not (field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT)


def _given(**keywords: Any) -> Schema:
    return {name: value for name, value in keywords.items() if value is not None}


def _nullable(schema: Schema) -> Schema:
    """Return the schema, extended by null. Its description stays outside of a union."""
    plain = {name: value for name, value in schema.items() if name != "description"}
    if "oneOf" not in plain:
        plain = values.nullable(plain)
    return {**plain, **_given(description=schema.get("description"))}


def _described_last(schema: Schema) -> Schema:
    plain = {name: value for name, value in schema.items() if name != "description"}
    return {**plain, **_given(description=schema.get("description"))}
