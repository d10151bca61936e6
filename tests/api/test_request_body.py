"""A Struct describes a body once: it is checked by it, refused in its words, and described by it in the document."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar
from uuid import UUID, uuid4

import jsonschema
import msgspec
import pytest
from msgspec import UNSET, Meta, Struct, UnsetType

from approvals import bodies as approval_bodies
from core.web import request_body
from core.web.fields import Body, Id, name, one_of, says, shaped, text
from core.web.openapi import structs, values
from core.web.problems import Problem
from mailbox import envelope
from mailbox.api import bodies as mailbox_bodies
from orchestration.api import bodies as session_bodies

pytestmark = pytest.mark.once

FEW = "must be a whole number from 1 to 9"


def _no_x(value: str) -> str | None:
    return "holds an x" if "x" in value else None


class Inner(Body, frozen=True):
    word: Annotated[str, one_of(["a", "b"])] | None = None
    few: Annotated[int, Meta(ge=1, le=9)] | None = None


class Outer(Body, frozen=True, kw_only=True):
    title: Annotated[str, text(3, 1, says="A title.")]
    any: Any
    inner: Inner | None = None
    named: Annotated[str, name(4)] | None = None
    plain: Annotated[str, text(check=_no_x)] = ""
    of: UUID | None = None
    parts: Annotated[list[Annotated[str, text(2)]], Meta(max_length=2)] = []
    few: Annotated[int, Meta(ge=1, le=9)] = 5
    rate: float | None = None
    on: bool = True
    free: dict[str, Any] | None = None
    own: Annotated[Any, shaped({"type": "integer"}, required=True)] = None

    rules: ClassVar[dict[str, Any]] = {"minProperties": 2}


GOOD: dict[str, Any] = {"title": "abc", "any": None}


def refused(value: Any, body: type[Struct] = Outer) -> dict[str, str]:
    with pytest.raises(Problem) as refusal:
        request_body.convert(value, body)
    assert (refusal.value.status, refusal.value.type) == (422, "invalid")
    return {error["field"]: error["detail"] for error in refusal.value.extra["errors"]}


def test_a_body_is_the_struct_that_describes_it() -> None:
    id = uuid4()
    given = {
        "title": "t",
        "any": [1],
        "inner": {"word": "b", "few": 2.0},
        "of": str(id),
        "few": 3.0,
        "rate": 1,
        "on": None,
    }
    read = request_body.convert(given, Outer)
    assert (read.title, read.any, read.inner, read.of) == ("t", [1], Inner("b", 2), id)
    assert (read.few, type(read.few), read.rate, read.on, read.parts) == (3, int, 1.0, True, [])


def test_null_is_absent_but_for_a_required_value_of_any_kind() -> None:
    read = request_body.convert({**GOOD, "few": None, "unknown": None, "inner": {"word": None, "other": None}}, Outer)
    assert (read.any, read.few, read.inner) == (None, 5, Inner())
    assert refused({"title": None}) == {
        "title": "must be a string of 1 to 3 characters, and is missing",
        "any": "must be a JSON value, and is missing",
    }


def test_every_wrong_field_is_named_at_once() -> None:
    wrong = {
        "title": "", "unknown": 1, "a.b": 1, "inner": {"word": "c", "few": 0, "x": 1}, "named": "\u202e", "plain": "x",
        "of": "7", "parts": ["a", "abc", 7], "few": True, "rate": "1", "on": 1, "free": [],
    }  # fmt: skip
    assert refused(wrong) == {
        "title": "must be a string of 1 to 3 characters, and is an empty string",
        "any": "must be a JSON value, and is missing",
        "unknown": "is no field of this call",
        '["a.b"]': "is no field of this call",
        "inner.word": "must be one of a, b, and is none of them",
        "inner.few": f"{FEW}, and is the number 0",
        "inner.x": "is no field of this call",
        "named": "must be a string of 1 to 4 characters, none of them invisible, and is a string of 1 character",
        "plain": "holds an x",
        "of": "must be a UUID, and is a string of 1 character",
        "parts": "must be an array of at most 2 items, and is an array of 3 items",
        "few": f"{FEW}, and is true",
        "rate": "must be a number, and is a string of 1 character",
        "on": "must be true or false, and is the number 1",
        "free": "must be a JSON object, and is an empty array",
    }
    assert refused({**GOOD, "parts": ["abc", "a"]}) == {
        "parts[0]": "must be a string of at most 2 characters, and is a string of 3 characters"
    }
    assert refused({**GOOD, "parts": [1, 2]}).keys() == {"parts[0]", "parts[1]"}


def test_a_check_of_our_own_refuses_what_is_right_for_msgspec() -> None:
    assert refused({**GOOD, "plain": "x"}) == {"plain": "holds an x"}
    assert refused({**GOOD, "inner": {"word": "c"}}) == {"inner.word": "must be one of a, b, and is none of them"}


@pytest.mark.parametrize("value", [None, [], "x", 7])
def test_a_body_is_an_object(value: Any) -> None:
    assert refused(value)[""].startswith("must be a JSON object, and is ")


BODIES: list[type[Struct]] = [
    each
    for module in (approval_bodies, mailbox_bodies, session_bodies, envelope)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, Body) and each is not Body
]
ODD = [True, 7, -1, 2.5, 10**30, "", "x", "x" * 300, [], ["x"], [7], {}, {"x": 1}, [[]], str(uuid4())]


@pytest.mark.parametrize("body", [Outer, Inner, *BODIES], ids=lambda body: body.__name__)
def test_the_words_of_a_refusal_and_msgspec_agree(body: type[Struct]) -> None:
    """A value that msgspec refuses has an error with its name. A value without an error is no refusal of msgspec."""
    for field in body.__struct_encode_fields__:
        for value in ODD:
            found = [error["field"] for error in request_body.errors({field: value}, body) if error["field"] == field]
            kind = next(each for each in msgspec.structs.fields(body) if each.encode_name == field).type
            try:
                msgspec.convert(request_body.given({field: value}, body)[field], kind)
            except msgspec.ValidationError:
                inner = [error["field"] for error in request_body.errors({field: value}, body)]
                assert any(each == field or each.startswith((f"{field}[", f"{field}.")) for each in inner), (
                    field,
                    value,
                )
            else:
                checked = "check" in str(msgspec.inspect.type_info(kind)) or value == "" or isinstance(value, float)
                assert not found or checked, (field, value)


def test_a_body_is_in_the_document_as_it_is_checked() -> None:
    kept: dict[str, Any] = {}

    def register(kind: str, name: str, component: dict[str, Any]) -> dict[str, Any]:
        kept[name] = component
        return values.reference(name)

    assert structs.reference(Outer, register, asked=True) == values.reference("Outer")
    outer, inner = kept["Outer"], kept["Inner"]
    assert outer["required"] == ["any", "own", "title"] and "required" not in inner
    assert (outer["additionalProperties"], outer["minProperties"]) == (False, 2)
    fields = outer["properties"]
    title = {"type": "string", "minLength": 1, "maxLength": 3, "pattern": values.NO_NUL, "description": "A title."}
    assert fields["title"] == title
    assert fields["few"] == {"type": ["integer", "null"], "minimum": 1, "maximum": 9, "default": 5}
    assert fields["of"] == {"type": ["string", "null"], "format": "uuid"}
    assert fields["inner"] == {"oneOf": [values.reference("Inner"), {"type": "null"}]}
    assert inner["properties"]["word"] == {"oneOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}]}
    assert fields["parts"]["items"]["maxLength"] == 2 and fields["own"] == {"type": "integer"}
    schema = {**outer, "components": {"schemas": {**kept, **values.COMPONENTS}}}
    checker = jsonschema.Draft202012Validator(schema)
    assert checker.is_valid({**GOOD, "own": 1}) and not checker.is_valid({**GOOD, "own": 1, "unknown": 1})


class Shown(Struct, frozen=True):
    """The shown request."""

    id: Annotated[Id, says("Its id.")]
    at: str | None
    child: Inner | UnsetType = UNSET


def test_an_answer_has_every_member_that_is_always_set() -> None:
    kept: dict[str, Any] = {}
    structs.reference(Shown, lambda kind, name, component: kept.setdefault(name, component), asked=False)
    shown = kept["Shown"]
    assert (shown["description"], shown["required"]) == ("The shown request.", ["at", "id"])
    assert shown["properties"]["id"] == {"type": "string", "format": "uuid", "description": "Its id."}
    assert shown["properties"]["at"] == {"type": ["string", "null"]}
    assert "additionalProperties" not in shown


class Joined(Body, frozen=True):
    words: Annotated[
        list[Annotated[str, text(2)]],
        shaped({"type": "array"}, check=lambda words: "holds an x" if "x" in "".join(words) else None),
    ] = []


def test_a_list_is_checked_as_a_whole_only_when_its_items_are_right() -> None:
    assert refused({"words": ["x"]}, Joined) == {"words": "holds an x"}
    assert list(refused({"words": ["x", {}, 1]}, Joined)) == ["words[1]", "words[2]"]
