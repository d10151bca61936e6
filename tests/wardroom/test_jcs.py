"""The canonical form and the digest, against vectors that others can repeat."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardroom import jcs

# Appendix B of RFC 8785: IEEE 754 bits and their text.
NUMBERS = {
    0.0: "0",
    5e-324: "5e-324",
    -5e-324: "-5e-324",
    1.7976931348623157e308: "1.7976931348623157e+308",
    9007199254740992.0: "9007199254740992",
    295147905179352830000.0: "295147905179352830000",
    9.999999999999997e22: "9.999999999999997e+22",
    1e23: "1e+23",
    1.0000000000000001e23: "1.0000000000000001e+23",
    999999999999999700000.0: "999999999999999700000",
    1e21: "1e+21",
    9.999999999999997e-7: "9.999999999999997e-7",
    0.000001: "0.000001",
    333333333.3333332: "333333333.3333332",
    333333333.33333325: "333333333.33333325",
    1424953923781206.2: "1424953923781206.2",
}


@pytest.mark.parametrize(("number", "text"), [(-0.0, "0"), *NUMBERS.items()])
def test_numbers_are_written_as_rfc_8785_writes_them(number: float, text: str) -> None:
    assert jcs.canonical(number) == text


def test_the_rfc_example() -> None:
    given = r"""{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"""
    assert jcs.canonical(json.loads(given)) == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_sorted_by_utf_16_units() -> None:
    given = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\u00f6": 7}
    assert list(json.loads(jcs.canonical(given))) == ["\r", "1", "\x80", "ö", "€", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize("value", [2**53, -(2**53), {"a": [10**30]}, float("nan"), "\ud800", "\0", b"x"])
def test_what_readers_would_not_agree_on_has_no_canonical_form(value: object) -> None:
    with pytest.raises(jcs.CanonicalError):
        jcs.canonical(value)


ACTION = {
    "v": 1,
    "project": "default",
    "session": "s1",
    "attempt": 1,
    "request_id": "r1",
    "tool_name": "shell",
    "permission": "shell:run",
    "resource": "/srv",
    "arguments": {"command": "ls", "cwd": "/srv", "env": []},
}


def test_absent_is_null_and_all_ten_keys_are_written() -> None:
    text = (
        '{"arguments":{"command":"ls","cwd":"/srv","env":[]},"attempt":1,"permission":"shell:run",'
        '"project":"default","request_id":"r1","resource":"/srv","session":"s1","tool_name":"shell",'
        '"tool_schema_version":null,"v":1}'
    )
    assert jcs.canonical_action(ACTION) == text
    assert jcs.canonical_action({**ACTION, "tool_schema_version": None}) == text
    assert jcs.digest(ACTION) == hashlib.sha256(text.encode()).hexdigest()
    assert jcs.digest(ACTION) == "eb144e59116c8ca08d51323cc763521ac6775a49da6a285416ab3a329e805ad9"


def test_the_order_of_keys_does_not_matter_and_every_member_does() -> None:
    assert jcs.digest(dict(reversed(ACTION.items()))) == jcs.digest(ACTION)
    digests = {jcs.digest({**ACTION, key: "other"}) for key in jcs.ACTION_KEYS}
    assert len(digests | {jcs.digest(ACTION)}) == 11


def test_a_null_inside_the_arguments_is_not_absent() -> None:
    assert jcs.digest({**ACTION, "arguments": {"a": None}}) != jcs.digest({**ACTION, "arguments": {}})


def test_a_key_that_is_no_part_of_an_action_is_refused() -> None:
    with pytest.raises(jcs.CanonicalError, match="risk"):
        jcs.digest({**ACTION, "risk": "high"})


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
ANY_NUMBER = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e6, 1e6) | st.sampled_from([0, -0.0, 1, 1.0])
VALUES = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def is_same(one: Any, other: Any) -> bool:
    """Compare two JSON values: `1` is `1.0`, and `true` is no number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(is_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return type(one) is type(other) and one == other if isinstance(one, str) else bool(one == other)


def turned(value: Any) -> Any:
    """Return the same value with the members of each object in the other order."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(value)}
    return [turned(each) for each in value] if isinstance(value, list) else value


@given(one=VALUES, other=VALUES)
def test_two_actions_have_one_digest_exactly_if_they_are_the_same(one: Any, other: Any) -> None:
    digests = [jcs.digest({**ACTION, "arguments": {"a": value}}) for value in (one, other)]
    assert (digests[0] == digests[1]) is is_same(one, other)
    for again in (turned(one), json.loads(json.dumps(one, indent=3)), json.loads(json.dumps(one, ensure_ascii=False))):
        assert jcs.digest({**ACTION, "arguments": {"a": again}}) == digests[0]
