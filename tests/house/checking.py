"""Tell a test that checks something from one that only runs code."""

import ast
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
#: Helpers that check, by name. `test_every_helper_checks` holds that each of ours does.
OURS = {
    "assert_it_ends_well",
    "expect_approvals_for_four_hundred_days",
    "expect_one_winner",
    "expect_the_same",
    "expect_tour",
    "expect_waits_that_change_nothing",
    "refused",
    "wait_until",
    "wait_until_async",
    "watch_until",
}
#: Of libraries: `expect(locator).to_...` of Playwright; a bound on the queries inside a `with`.
THEIRS = {"django_assert_max_num_queries", "django_assert_num_queries", "expect"}
#: Any failure at all is one of these, so that one raised by mistake would do.
ANYTHING = {"Exception", "BaseException"}


def checks(function: Function, helpers: frozenset[str] | set[str] = frozenset(OURS | THEIRS)) -> bool:
    """Whether it asserts about a value, expects a kind of exception, or calls a helper that is known to."""
    return any(_is_check(node, helpers) for node in run_by(function))


def run_by(function: Function) -> Iterator[ast.AST]:
    """Yield the nodes that run with a function. Those of an inner function do when something else names it."""
    todo: list[ast.AST] = list(function.body)
    inner: dict[str, Function] = {}
    named: set[str] = set()
    while todo or (inner.keys() & named):
        if not todo:
            todo += inner.pop(next(iter(inner.keys() & named))).body
        node = todo.pop()
        if isinstance(node, FUNCTIONS):
            inner[node.name] = node
            todo += node.decorator_list
            continue
        if isinstance(node, ast.Name):
            named.add(node.id)
        yield node
        todo += ast.iter_child_nodes(node)


def _is_check(node: ast.AST, helpers: frozenset[str] | set[str]) -> bool:
    if isinstance(node, ast.Assert):
        return not isinstance(node.test, ast.Constant | ast.Tuple)
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    if name in ("pytest.raises", "pytest.warns"):
        kind = ast.unparse(node.args[0]) if node.args else "Exception"
        return kind not in ANYTHING or any(keyword.arg == "match" for keyword in node.keywords)
    return name.rpartition(".")[2] in helpers


def raises_when_it_fails(function: Function) -> bool:
    """Whether a helper asserts or waits itself, or raises an AssertionError by name."""
    raised = {
        ast.unparse(node.exc).partition("(")[0]
        for node in ast.walk(function)
        if isinstance(node, ast.Raise) and node.exc is not None
    }
    return bool(raised & {"AssertionError", "NeverHappened"}) or checks(function, {"wait_until", "wait_until_async"})
