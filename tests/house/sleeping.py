"""Find the sleeps of a test, under any name: waits for a time instead of for a visible condition."""

import ast
from collections.abc import Iterator

CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time", "time_ns"}
SLEEPERS = {"time", "asyncio", "anyio", "trio", "gevent", "eventlet"}
SIGNALS = {"Event", "Condition", "Future", "create_future"}
RELEASES = {"set", "notify", "notify_all", "set_result", "set_exception", "cancel"}
POLLS = {"wait_until", "wait_until_async"}


def sleeps(tree: ast.Module) -> list[tuple[int, str]]:
    """Return each sleep: its line and its call."""
    signals = _signals(tree)
    found = {
        (node.lineno, what)
        for node in ast.walk(tree)
        for what in (*_plain(node), *_clocks(node), *_fresh(node), *_unread(node, signals), *_never(node, signals))
        if isinstance(node, ast.stmt | ast.expr)
    }
    return sorted(found)


def called(node: ast.AST) -> str:
    """The last name of the function that is called, or nothing."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_clock(node: ast.AST) -> bool:
    dated = isinstance(node, ast.Call) and ast.unparse(node.func) in ("timezone.now", "datetime.now")
    return dated or called(node) in CLOCKS


def _plain(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Attribute) and node.attr == "sleep" and ast.unparse(node.value) in SLEEPERS:
        yield f"{ast.unparse(node)} sleeps"
    if isinstance(node, ast.ImportFrom) and any(alias.name == "sleep" for alias in node.names):
        yield "imports sleep"
    if called(node) in ("sleep", "wait_for_timeout"):
        yield f"{called(node)} sleeps"
    if isinstance(node, ast.Call) and called(node) == "select" and _nothing_to_select(node):
        yield "selects among nothing"


def _nothing_to_select(call: ast.Call) -> bool:
    return len(call.args) == 4 and all(isinstance(arg, ast.List | ast.Tuple) and not arg.elts for arg in call.args[:3])


def _clocks(node: ast.AST) -> Iterator[str]:
    """Loops that end, and conditions that come true, because time passed."""
    if isinstance(node, ast.While) and any(_is_clock(inner) for inner in ast.walk(node.test)):
        yield "polls a clock in a loop"
    if called(node) in POLLS and isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Lambda):
        calls = [inner for inner in ast.walk(node.args[0].body) if isinstance(inner, ast.Call)]
        if calls and all(_is_clock(inner) for inner in calls):
            yield "waits until a clock says so"


def _fresh(node: ast.AST) -> Iterator[str]:
    """A signal that nobody else holds: a wait with a timeout, or `wait` handed on. Without one it hangs on purpose."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Attribute) and child.attr == "wait" and called(child.value) in SIGNALS:
            hangs = isinstance(node, ast.Call) and node.func is child and not node.args and not node.keywords
            if not hangs:
                yield "waits for a signal that nobody else knows"


def _unread(node: ast.AST, signals: set[str]) -> Iterator[str]:
    """Return timed waits with an unread answer: the test continues although the event never came."""
    if not isinstance(node, ast.Expr):
        return
    call = node.value.value if isinstance(node.value, ast.Await) else node.value
    if not isinstance(call, ast.Call):
        return
    timed = bool(call.args) or any(keyword.arg == "timeout" for keyword in call.keywords)
    if called(call) == "wait" and isinstance(call.func, ast.Attribute) and timed:
        owner = ast.unparse(call.func.value)
        if owner in signals or (owner == "asyncio" and any(keyword.arg == "timeout" for keyword in call.keywords)):
            yield "does not read whether the wait was in vain"


def _never(node: ast.AST, signals: set[str]) -> Iterator[str]:
    if called(node) != "wait_for" or not isinstance(node, ast.Call) or not node.args:
        return
    owner = awaited = node.args[0]
    if isinstance(awaited, ast.Call) and isinstance(awaited.func, ast.Attribute) and awaited.func.attr == "wait":
        owner = awaited.func.value
    if called(owner) in SIGNALS or f"never:{ast.unparse(owner)}" in signals:
        yield "waits for what never comes"


def _signals(tree: ast.Module) -> set[str]:
    """What this file assigns events and futures to; `never:` before those that nothing here releases or hands on."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                names |= set(_assigned(target, node.value))
        elif isinstance(node, ast.AnnAssign) and called(node.value or node) in SIGNALS:
            names.add(ast.unparse(node.target))
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)]
    parents = {id(child): parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    released = {ast.unparse(node) for node in used if _releases(node, parents)}
    return names | {f"never:{name}" for name in names - released}


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for left, right in zip(target.elts, value.elts, strict=False):
            yield from _assigned(left, right)
    elif called(value) in SIGNALS:
        yield ast.unparse(target)


def _releases(node: ast.Name | ast.Attribute, parents: dict[int, ast.AST]) -> bool:
    """Whether this use may bring the end of the wait: a release, or handing it to somebody else."""
    if not isinstance(node.ctx, ast.Load):
        return False
    parent = parents[id(node)]
    if isinstance(parent, ast.Attribute):
        return parent.attr in RELEASES
    return not (isinstance(parent, ast.Call) and called(parent) == "wait_for")
