"""Outlines of bodies and answers for the OpenAPI document: nothing is parsed or checked by them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import inline_serializer
from rest_framework.serializers import Field, Serializer


def order(name: str, fields: Mapping[str, Field], **rules: Any) -> Serializer[Any]:
    """The outline of a request's body: no other members, null equals absent. `rules` are keywords that bind several."""
    made = outline(name, fields)
    type(made).strict, type(made).schemas, type(made).rules = True, {}, rules  # type: ignore[attr-defined]
    return made


def outline(name: str, fields: Mapping[str, Field], **more: Any) -> Serializer[Any]:
    """The component `name` with these fields, in their order. For many of one that there is: `type(that)(many=True)`.

    A serializer's class takes its fields out of the mapping that it is made of, and a field knows one name only. So
    each is copied, for a mapping to serve two components, and a field two names.
    """
    return inline_serializer(name, {each: copy.deepcopy(field) for each, field in fields.items()}, **more)
