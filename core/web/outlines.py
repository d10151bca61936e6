"""Outlines of bodies and answers for the OpenAPI document. They parse and check nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import inline_serializer
from rest_framework.serializers import Field, Serializer


def order(name: str, fields: Mapping[str, Field], **rules: Any) -> Serializer[Any]:
    """Return the outline of a request body: no other members, null equals absent.

    `rules` are keywords that bind several fields.
    """
    made = outline(name, fields)
    type(made).strict, type(made).schemas, type(made).rules = True, {}, rules  # type: ignore[attr-defined]
    return made


def outline(name: str, fields: Mapping[str, Field], **more: Any) -> Serializer[Any]:
    """Return the component `name` with these fields, in order. For a list of an existing one: `type(that)(many=True)`.

    A serializer class removes its fields from the mapping that it is built from, and a field knows only one name. So
    each field is copied: a mapping may serve two components, and a field two names.
    """
    return inline_serializer(name, {each: copy.deepcopy(field) for each, field in fields.items()}, **more)
