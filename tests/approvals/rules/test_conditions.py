"""A condition reads known names only, and none of its evaluations can take long."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from approvals.rules import conditions
from approvals.rules.conditions import Condition, Undecided

pytestmark = pytest.mark.once


def evaluate(text: str, arguments: Any = None, size: int = 1, **session: Any) -> bool:
    assert conditions.fault(text) is None
    return Condition(text).holds(conditions.context(arguments or {}, session, {"tool_name": "shell"}, size))


@pytest.mark.parametrize(
    ("text", "arguments", "holds"),
    [
        ('arguments.command.startsWith("rm ")', {"command": "rm -rf /"}, True),
        ("arguments.amount > 100.0", {"amount": 99.5}, False),
        ("arguments.amount > 100", {"amount": 100.5}, True),
        ("arguments.amount >= 100.0", {"amount": 100}, True),
        ("arguments.amount == 1e2 || arguments.amount == 0x10", {"amount": 16}, True),
        ('has(arguments.to) && arguments.to in ["a", "b"]', {}, False),
        ('arguments.command.matches("^(rm|mv) ")', {"command": "mv a b"}, True),
        (r'arguments.command.matches("^\\w+\\.\"x\"$")', {"command": 'a."x"'}, True),
        ('approval.tool_name == "shell" && size(arguments) == 0', {}, True),
        ('arguments.session.all == "map("', {"session": {"all": "map("}}, True),
    ],
)
def test_a_condition_reads_the_arguments(text: str, arguments: Any, holds: bool) -> None:
    assert evaluate(text, arguments) is holds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1].all(x, x > 0)", "macro"),
        ("[1].exists(x, x > 0)", "macro"),
        ("[1].map(arguments, arguments) == []", "macro"),
        ("[1].filter (arguments, true) == []", "macro"),
        ("[1].exists_one(arguments, true)", "macro"),
        ("0.map(arguments, true) == 0", "macro"),
        ("cel.bind(arguments, 1, true)", "macro"),
        ("user == 1", "names user"),
        ("session.dept == 1", "names session.dept"),
        ('session["role"] == "x"', "names session["),
        ("session == session", "names session"),
        ("approval.decision == 1", "names approval.decision"),
        ("run(arguments)", "calls run"),
        ("dyn(1) == 1", "calls dyn"),
        ("arguments.a.matches(arguments.b)", "one constant text"),
        ('arguments.a.matches("a{1000}")', "counted repetition"),
        (r'arguments.a.matches("a\u007b1000\u007d")', "an escape"),
        (r'arguments.a.matches("a\x7b1000}")', "an escape"),
        (r'arguments.a.matches("a\1731000\175")', "an escape"),
        (r'arguments.a.matches("[[:alpha:]][[:alpha:]][[:alpha:]][[:alpha:]][[:alpha:]]")', "classes"),
        (r'arguments.a.matches("\\w\\w\\w\\w\\w")', "classes"),
        (" + ".join(["arguments.a"] * 10) + ' == ""', "more than 8"),
        (" || ".join(['arguments.a.matches("a")'] * 5), "more than 4 regular"),
        ("true // arguments", "comment"),
        ("true" + " " * 1000, "longer than"),
        ("arguments.a ==", "no CEL expression"),
        ("(" * 400 + "true" + ")" * 400, "no CEL expression"),
        ('"open', "the character"),
        (r'r"\" == arguments.a || [1].map(arguments, true) == [] || "x"', "prefix r"),
        (r'R"\" == "" || [1].map(arguments, true) == [] || "x" == ""', "prefix R"),
        (r'"""\""" + """ == "" || [1].map(arguments, true) == [] || """x""" == ""', "three quotes"),
        ("arguments.`a` == 1", "the character"),
    ],
)
def test_a_bad_condition_is_refused_with_its_reason(text: str, why: str) -> None:
    assert why in str(conditions.fault(text))


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("arguments.missing == 1", {}),
        ("arguments.a < 5", {"a": "text"}),
        ("arguments.a / 0 == 1", {"a": 1}),
        ("arguments.a * 9223372036854775807 > 1", {"a": 5}),
        ("arguments.a[7] == 1", {"a": [1]}),
        ("arguments.a", {"a": 1}),
        ('timestamp(arguments.a) < timestamp("2026-01-01T00:00:00Z")', {"a": "yesterday"}),
    ],
)
def test_a_condition_without_an_answer_is_undecided(text: str, arguments: Any) -> None:
    with pytest.raises(Undecided):
        evaluate(text, arguments)


def test_too_many_values_leave_the_condition_undecided() -> None:
    many = {"items": list(range(conditions.MAX_VALUES))}
    assert evaluate("5 in arguments.items", many, size=conditions.MAX_VALUES)
    with pytest.raises(Undecided):
        evaluate("5 in arguments.items", many, size=conditions.MAX_VALUES + 1)


#: The costliest expressions that pass the check, with the arguments that make them so.
COSTLY = [
    (" || ".join(["5 in arguments.a"] * 50), {"a": [7] * (conditions.MAX_VALUES - 1)}),
    ("+".join(["arguments.a"] * 9) + ' == ""', {"a": "x" * 500_000}),
    (" || ".join([r'arguments.a.matches("\\pL\\pL\\pL\\pL$")'] * 4), {"a": "x" * 500_000}),
    (" || ".join(['arguments.a.matches("(.*)(.*)(.*)(.*)(.*)(.*)y")'] * 4), {"a": "x" * 500_000}),
    (" || ".join(['arguments.a.contains("xxxxxy")'] * 25), {"a": "x" * 500_000}),
    ("arguments.a == arguments.b", {"a": {"x": ["y" * 250] * 900}, "b": {"x": ["y" * 250] * 900}}),
]


@pytest.mark.parametrize(("text", "arguments"), COSTLY, ids=range(len(COSTLY)))
def test_no_condition_takes_long(text: str, arguments: Any) -> None:
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        evaluate(text, arguments, size=conditions.MAX_VALUES)
        taken.append(time.perf_counter() - began)
    assert min(taken) < 0.25


def test_a_compiled_condition_works_in_every_thread() -> None:
    condition, found = Condition("arguments.a == 1"), list[bool]()
    context = conditions.context({"a": 1}, {}, {}, 1)
    threads = [threading.Thread(target=lambda: found.append(condition.holds(context))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_the_terminal_toolkit_of_the_library_is_not_loaded() -> None:
    script = "import sys; from approvals.rules import conditions; print({'prompt_toolkit', 'typer'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout == "set()\n"
