"""Every test checks something, and a call that only looks like a check does not count."""

import ast

import pytest

from tests.house.checking import FUNCTIONS, OURS, Function, checks, raises_when_it_fails
from tests.house.sources import files_of_tests, name, tree


def test_every_test_checks_something() -> None:
    idle = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path in files_of_tests()
        for node in ast.walk(tree(path))
        if isinstance(node, FUNCTIONS)
        and node.name.startswith("test_")
        and path.name.startswith("test_")
        and not checks(node)
    ]
    assert idle == []


def test_every_helper_checks() -> None:
    helpers = {
        (name(path), node.name): node
        for path in files_of_tests()
        for node in tree(path).body
        if isinstance(node, FUNCTIONS) and node.name in OURS
    }
    assert {helper for _, helper in helpers} == OURS
    assert [where for where, node in helpers.items() if not raises_when_it_fails(node)] == []


@pytest.mark.parametrize(
    "sample",
    [
        "work()",
        "assert True",
        "assert 1, 'always'",
        "assert (answer == 3, 'a tuple is true')",
        "with pytest.raises(Exception): work()",
        "with pytest.raises(BaseException): work()",
        "with suppress(Refused): work()",
        "must_work()",
        "finish()",
        "expected = work()",
        "def inner():\n        assert answer == 3",
        "try:\n        work()\n    except Refused:\n        pass",
    ],
)
def test_what_checks_nothing_is_seen(sample: str) -> None:
    assert not checks(parsed(sample))


@pytest.mark.parametrize(
    "sample",
    [
        "assert answer == 3",
        "assert process.wait(10) == 0",
        "with pytest.raises(Refused): work()",
        "with pytest.raises(Exception, match='why'): work()",
        "wait_until(lambda: seen())",
        "await waiting.wait_until_async(seen)",
        "expect(page.locator('h1')).to_have_text('Queue')",
        "with django_assert_max_num_queries(3): work()",
        "def inner():\n        assert answer == 3\n    inner()",
        "def inner():\n        assert answer == 3\n    crowd(inner)",
    ],
)
def test_what_checks_is_left_alone(sample: str) -> None:
    assert checks(parsed(sample))


def parsed(sample: str) -> Function:
    function = ast.parse(f"async def test_sample():\n    {sample}").body[0]
    assert isinstance(function, FUNCTIONS)
    return function
