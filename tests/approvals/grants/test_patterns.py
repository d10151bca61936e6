"""The sameness of actions: tricks with numbers, letters, missing members, wildcards and steps up."""

from __future__ import annotations

from typing import Any

import pytest

from approvals.grants import patterns
from wardroom import jcs

pytestmark = pytest.mark.once

ACTION: dict[str, Any] = {
    "tool_name": "write_file",
    "tool_schema_version": None,
    "permission": "write",
    "resource": "src/a.py",
    "arguments": {"path": "src/a.py", "mode": 420, "text": "x"},
}


def like(**changed: Any) -> dict[str, Any]:
    return ACTION | changed


def arguments(**changed: Any) -> dict[str, Any]:
    return ACTION["arguments"] | changed


def is_same(action: dict[str, Any], slots: Any = (), resource_slot: str | None = None) -> bool:
    stored = patterns.read(jcs.canonical(action))
    return patterns.digest(stored, slots, resource_slot) == patterns.digest(ACTION, slots, resource_slot)


def test_a_number_is_the_same_however_it_is_written() -> None:
    assert is_same(like(arguments=arguments(mode=420.0)))
    assert not is_same(like(arguments=arguments(mode="420")))
    assert not is_same(like(arguments=arguments(mode=True)))
    assert not patterns.fits(True, {"enum": [1]}, like=1)
    assert patterns.fits(1.0, {"enum": [1]}, like=1)
    assert not patterns.fits(True, {}, like=1)


@pytest.mark.parametrize(
    "changed",
    [
        {"tool_name": "Write_file"},
        {"tool_name": "wr\u0456te_file"},  # A Cyrillic letter.
        {"tool_name": "write_file\u200b"},
        {"tool_name": "write_file "},
        {"tool_schema_version": "2"},
        {"permission": "Write"},
        {"resource": "src/b.py"},
        {"resource": "src/./a.py"},
        {"arguments": None},
        {"arguments": {}},
        {"arguments": arguments(more=None)},
        {"arguments": {"path": "src/a.py", "mode": 420}},
        {"arguments": arguments(text=None)},
        {"arguments": arguments(text="X")},
        {"preconditions": [{"name": "head", "value_hash": "1", "shown": "1"}]},
    ],
)
def test_any_other_action_is_another_one(changed: dict[str, Any]) -> None:
    assert not is_same(like(**changed))


def test_the_same_letter_in_two_forms_is_two_letters() -> None:
    assert patterns.digest(like(resource="caf\u00e9")) != patterns.digest(like(resource="cafe\u0301"))


def test_only_the_named_arguments_vary() -> None:
    assert is_same(like(arguments=arguments(text="other")), ["text"])
    assert not is_same(like(arguments=arguments(text="other", mode=1)), ["text"])
    assert not is_same(like(arguments=arguments(text="other", more=1)), ["text"])
    assert patterns.digest(ACTION, ["text"]) != patterns.digest(ACTION, ["mode"])


def test_a_slot_is_filled_and_a_missing_argument_fills_none() -> None:
    assert patterns.has_slots(like(arguments=arguments(text=None)), ["text"])
    assert not patterns.has_slots(like(arguments={"path": "src/a.py", "mode": 420}), ["text"])
    assert not patterns.has_slots(like(arguments=None), ["text"])
    assert not patterns.fits(None, {}, like="x")
    for like_none in (None, [1], {"a": 1}):
        assert not patterns.fits(like_none, {}, like=like_none)


def test_a_resource_that_repeats_a_slot_varies_with_it_alone() -> None:
    slots: Any = {"path": {"glob": "src/*"}}
    good = like(resource="src/b.py", arguments=arguments(path="src/b.py"))
    assert is_same(good, slots, "path")
    assert patterns.varies_within(ACTION, good, slots, "path")
    assert not patterns.varies_within(ACTION, good | {"resource": "/etc/passwd"}, slots, "path")


@pytest.mark.parametrize(
    ("glob", "value", "matches"),
    [
        ("src/*", "src/a.py", True),
        ("src/*", "src/a/b.py", False),
        ("src/**", "src/a/b.py", True),
        ("src/**/x.py", "src/a/b/x.py", True),
        ("src/*/x-*.py", "src/a/x-1.py", True),
        ("src/*", "src/", False),
        ("src/*", "src/..", False),
        ("src/**", "src/../etc/passwd", False),
        ("src/**", "src/a/../../etc", False),
        ("src/*", "src/a\n", False),
        ("src/*", "src/a\nrm", False),
        ("src/*", "\nsrc/a", False),
        ("src/*", "src/a;rm", False),
        ("src/*", "src/a b", False),
        ("src/*", "src/$HOME", False),
        ("src/*", "src/%2e%2e", False),
        ("src/*", "src/~root", False),
        ("src/*", "src/a\x00", False),
        ("src/*", "src/caf\u00e9", False),
        ("src/*", "Src/a", False),
        ("src/*", "xsrc/a", False),
        ("git push *", "git push main", True),
        ("git push *", "git push --force", False),
        ("git push *", "git push main --force", False),
        ("[a]*", "a1", False),
        ("[a]*", "[a]1", True),
        ("a?c", "abc", False),
        ("a.c", "abc", False),
        ("*", "", False),
        ("../x/*", "../x/a", True),
        ("../x/*", "../x/..", False),
        ("a", "a", True),
    ],
)
def test_a_glob_matches_no_more_than_it_shows(glob: str, value: str, matches: bool) -> None:
    assert patterns.wrong_pattern(glob) is None
    assert patterns.fits(value, {"glob": glob}, like="x") is matches


@pytest.mark.parametrize(
    ("value", "matches"),
    [
        ("git log ", True),
        ("git log src/a.py", True),
        ("git log", False),
        ("git log -p", False),
        ("git log a;b", False),
        ("git log a\nb", False),
        ("git log ../x", False),
        (["git log "], False),
    ],
)
def test_a_prefix_is_followed_by_plain_characters(value: Any, matches: bool) -> None:
    assert patterns.fits(value, {"prefix": "git log "}, like="x") is matches


def test_a_hostile_value_costs_no_time() -> None:
    assert not patterns.is_glob_match("**a**a**a**b", "a" * patterns.MAX_MATCHED)
    assert not patterns.is_glob_match("*", "a" * (patterns.MAX_MATCHED + 1))


@pytest.mark.parametrize("pattern", ["", "a" * 1025, "a\n", "a\u200b", "*/*/*/*/*", 7, None])
def test_a_pattern_is_short_visible_and_simple(pattern: Any) -> None:
    assert patterns.wrong_pattern(pattern) is not None
