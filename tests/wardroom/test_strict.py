"""Values that are refused before they are stored, and the speed of the check."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardroom import strict

REFUSED = {
    "not UTF-8": b'{"a": "\xff"}',
    "not JSON": b"{",
    "nothing": b"",
    "single quotes": b"{'a': 1}",
    "two values": b"1 2",
    "a byte order mark": "\ufeff{}".encode(),
    "NaN": b'{"a": NaN}',
    "Infinity": b"[Infinity]",
    "minus Infinity": b"-Infinity",
    "overflow": b'{"a": 1e999}',
    "negative overflow": b'{"a": -1e999}',
    "overflow by digits": b"1" + b"0" * 309 + b".0",
    "overflow by both": b"1" + b"0" * 215 + b"e95",
    "an escaped NUL": rb'{"a": "\u0000"}',
    "a raw NUL": b'{"a": "\x00"}',
    "NUL in a key": rb'{"\u0000": 1}',
    "a lone surrogate": rb'{"a": "\ud800"}',
    "a low surrogate alone": rb'["\uDC00"]',
    "a surrogate in a key": rb'{"\ud800": 1}',
    "duplicate keys": b'{"a": 1, "a": 1}',
    "duplicate keys, one escaped": rb'{"a": 1, "\u0061": 2}',
    "duplicate keys deep down": b'[[{"b": {"a": 1, "a": 2}}]]',
    "65 levels": b"[" * 65 + b"]" * 65,
    "100,000 levels": b"[" * 100_000,
    "100,000 objects": b'{"a":' * 100_000,
    "10,001 keys": json.dumps({str(i): i for i in range(10_001)}).encode(),
    "keys spread out": json.dumps([{"a": i} for i in range(10_001)]).encode(),
    "a million digits": b"1" * 1_000_000,
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_kept_is_refused(data: bytes) -> None:
    with pytest.raises(strict.StrictJSONError) as refusal:
        strict.loads(data)
    assert refusal.value.reason


def test_a_string_with_a_surrogate_is_refused_too() -> None:
    with pytest.raises(strict.StrictJSONError, match="surrogate"):
        strict.loads('"\ud800"')


def test_the_position_is_told_when_it_is_known() -> None:
    with pytest.raises(strict.StrictJSONError) as refusal:
        strict.loads(b'{"a": }')
    assert refusal.value.position == 6


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[]",
        "[" * 64 + "]" * 64,
        '{"a": "[[[' + "[" * 500 + '"}',
        r'{"a": "\\\"' + "{" * 500 + '"}',
        r'{"a": "\\u0000 \ud83d\ude00 \u0041"}',
        '{"1e999": "2e999"}',
        '{"a": 18446744073709551617, "b": 1.5e-300, "c": 1e300}',
        json.dumps({str(i): i for i in range(10_000)}),
    ],
)
def test_what_is_fine_reads_as_json_reads_it(text: str) -> None:
    assert strict.loads(text) == json.loads(text)
    assert strict.loads(text.encode()) == json.loads(text)


def test_too_many_bytes_is_a_refusal_of_its_own() -> None:
    assert strict.loads('"é"', max_bytes=4) == "é"
    with pytest.raises(strict.TooLarge):
        strict.loads('"é"', max_bytes=3)


@pytest.mark.parametrize(
    "value",
    [
        {"a": float("nan")},
        [float("inf")],
        {"a\0": 1},
        ["\ud800"],
        {1: "a"},
        b"bytes",
        {"a": {1, 2}},
        {str(i): i for i in range(10_001)},
    ],
)
def test_values_are_checked_like_texts(value: object) -> None:
    with pytest.raises(strict.StrictJSONError):
        strict.check(value)


def test_a_deep_or_circular_value_is_refused() -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(strict.StrictJSONError, match="64 levels"):
        strict.check(circle)
    deep: object = 1
    for _ in range(64):
        deep = [deep]
    strict.check(deep)
    with pytest.raises(strict.StrictJSONError, match="64 levels"):
        strict.check([deep])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(JSON)
def test_text_and_value_are_checked_alike(value: object) -> None:
    def refused(check: object, *args: object) -> bool:
        try:
            check(*args)
        except strict.StrictJSONError:
            return True
        return False

    assert refused(strict.check, value) == refused(strict.loads, json.dumps(value))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_text_gives_a_value_or_a_refusal(data: bytes | str) -> None:
    try:
        value = strict.loads(data)
    except strict.StrictJSONError:
        return
    assert value == json.loads(data)


@pytest.mark.parametrize(
    "data", [b'"' + b'\\"' * 500_000, b"[" * 1_000_000, b'{"' * 500_000, b'"\\' * 500_000, b"[]," * 300_000]
)
def test_a_megabyte_of_malice_costs_no_more_than_a_blink(data: bytes) -> None:
    start = time.thread_time()  # Its own: others may be at work.
    with pytest.raises(strict.StrictJSONError):
        strict.loads(data)
    assert time.thread_time() - start < 1


@pytest.mark.parametrize(
    "text", ["[" + "[]," * 60_000 + "1]", "[" + "1," * 100_001 + "1]", '{"a": [' + '"",' * 200_000 + '""]}']
)
def test_a_text_of_too_many_values_is_refused_before_it_is_decoded(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(strict.StrictJSONError, match="100000 values"):
        strict.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"a": "[,{" * 200_000}),
        json.dumps({"a": '\\",[' * 100_000, "b": [1, 2]}),
        json.dumps(["x" * 65_534, "[,", '",[', "\\"] * 20),
        json.dumps(list(range(99_999))),
    ],
)
def test_commas_and_brackets_in_strings_count_for_nothing(text: str) -> None:
    assert strict.loads(text) == json.loads(text)


def test_a_value_of_too_many_items_is_refused() -> None:
    strict.check([0] * 99_999)
    with pytest.raises(strict.StrictJSONError, match="100000 values"):
        strict.check([0] * 100_001)
