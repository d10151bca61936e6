"""Judging a request by 1,000 rules, beside the limit of one millisecond.

The part of an ask that rules take: the index, every match of the rules that it finds, and their conditions. A hundred
tools have nine rules each, four of them with a condition. A hundred further rules stand for every tool: a glob that
begins with `*`, or no tool at all. So a request meets 109 rules and evaluates four conditions. In the second figure all
1,000 rules stand for every tool, and the index can leave out none. The third is the first with arguments of 200 kB,
which are converted once for all conditions. Each process compiles the rules once after a change.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any
from uuid import uuid4

from benchmarks import stage
from benchmarks.figures import Figure, Table, main

RULES, TOOLS, CALLS = 1000, 100, 300
LIMIT_MS = 1.0


def bodies() -> list[dict[str, Any]]:
    """A thousand rules as a large project may have them."""
    found: list[dict[str, Any]] = []
    for number in range(RULES - 100):
        when = f'arguments.command.startsWith("cmd-{number} ") && session.depth < 3'
        match = {"tools": [f"tool-{number % TOOLS}"], **({"when": when} if number // TOOLS % 2 else {})}
        if not number // TOOLS % 2:
            match["resources"] = [f"*/{number}/*"]
        found.append({"name": f"tool rule {number}", "outcome": "ask", "match": match})
    for number in range(100):
        match = {"tools": [f"*-special-{number}"]} if number % 2 else {"resources": [f"secret/{number}/*"]}
        found.append({"name": f"wide rule {number}", "outcome": "deny", "match": match})
    return found


def wide() -> list[dict[str, Any]]:
    """A thousand rules that the index cannot leave out."""
    match = ({"tools": [f"*-special-{number}"]} for number in range(RULES))
    return [{"name": f"wide rule {at}", "outcome": "deny", "match": each} for at, each in enumerate(match)]


def compiled_set(said: list[dict[str, Any]]) -> tuple[Any, float]:
    """The rules, compiled and indexed, and the milliseconds that this took."""
    from approvals.models import Rule
    from approvals.rules import compiled, editing
    from approvals.rules.bodies import RuleBody
    from core.web import request_body

    rows = []
    for each in said:
        row = Rule(id=uuid4(), version=1)
        editing.fill(row, request_body.convert(each, RuleBody))
        rows.append(row)
    began = time.perf_counter()
    rules = compiled.indexed(map(compiled.compiled, rows))
    return rules, (time.perf_counter() - began) * 1000


def request(command: str) -> Any:
    """A request as it was stored."""
    from approvals.models import Approval

    action = {"arguments": {"command": command, "folder": "/tmp"}, "tool_schema_version": None}
    return Approval(
        id=uuid4(),
        session=uuid4(),
        attempt=1,
        path=[str(uuid4()), str(uuid4())],
        tool_name="tool-7",
        permission="execute",
        resource="a/b/c",
        action=json.dumps(action),
        risk="medium",
        reversibility="irreversible",
        via="connection",
    )


def judged_ms(rules: Any, approval: Any) -> float:
    """Milliseconds a request, by the median."""
    from approvals.askers import SessionFacts
    from approvals.rules import judging

    facts, taken = SessionFacts(role="worker"), []
    for _ in range(CALLS):
        began = time.perf_counter()
        judging.judge(approval, facts, rules)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def measure(rounds: int) -> Table:
    """Each figure beside the limit, round by round."""
    found: dict[str, list[float]] = {}
    with stage.servers("sqlite"):
        for _ in range(rounds):
            mixed, compiling = compiled_set(bodies())
            found.setdefault("compiling", []).append(compiling)
            found.setdefault("mixed", []).append(judged_ms(mixed, request("cmd-1 x")))
            found.setdefault("large", []).append(judged_ms(mixed, request("x" * 200_000)))
            found.setdefault("wide", []).append(judged_ms(compiled_set(wide())[0], request("cmd-1 x")))
    limit = [LIMIT_MS] * rounds
    figures = [
        Figure("1,000 rules, 100 tools", "ms", found["mixed"], "the limit", limit, 1.0, False),
        Figure("1,000 rules for every tool", "ms", found["wide"], "the limit", limit, 1.0, False),
        Figure("arguments of 200 kB", "ms", found["large"], "the limit", limit, 1.0, False),
        Figure("compile 1,000 rules, once a change", "ms", found["compiling"], "the limit", limit, None, False),
    ]
    return Table("rules", "Judging a request by rules", figures, (__doc__ or "").split("\n\n", 1)[1])


if __name__ == "__main__":
    main(measure)
