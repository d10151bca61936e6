"""The manifest of a plan: in full form, what a person may make of it, and which calls it covers."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from approvals.bodies import ApprovalAsk, PlanAsk
from approvals.grants import bounds, patterns
from approvals.states import UNSTATED_REVERSIBILITY, Decision, Reversibility, Risk, is_within, raised_risk
from core.display import redaction
from core.web import faults, problems, request_body
from wardroom import jcs

NOT_OF_A_PLAN = {
    "arguments": "a plan has its arguments in its steps",
    "preconditions": "a plan has none: each call states its own, and is asked for",
    "session": "a plan belongs to a session",
    "allowed_decisions": "a plan is approved, edited or denied",
}
Manifest = dict[str, Any]
Step = Mapping[str, Any]


def whole(plan: Mapping[str, Any], path: str = "plan") -> Manifest:
    """Return a valid plan with every member written out, so that nothing of it depends on a default of later.

    Raises invalid with every wrong field. `path` is the name of the plan in the body.
    """
    errors = [
        {**error, "field": f"{path}.{error['field']}" if error["field"] else path}
        for error in (*request_body.errors(plan, PlanAsk), *_mixed(plan))
    ]
    if errors:
        raise problems.invalid(errors)
    return {
        "ordered": bool(plan.get("ordered")),
        "expires_in_secs": plan.get("expires_in_secs") or bounds.USUAL_SECS,
        "steps": [
            {
                "tool_name": step["tool_name"],
                "permission": step["permission"],
                "resource": step.get("resource"),
                "glob": step.get("glob"),
                "arguments": step.get("arguments"),
                "patterns": step.get("patterns"),
                "count": step.get("count") or 1,
                "risk": raised_risk(step.get("risk")),
                "reversibility": step.get("reversibility") or UNSTATED_REVERSIBILITY.value,
            }
            for step in plan["steps"]
        ],
    }


def as_action(ask: ApprovalAsk) -> Any:
    """Return an ask for a plan with the manifest as its arguments and the gravest harm of its steps. Raises invalid."""
    plan: Any = ask.plan  # A plain object, as it came.
    wrong = {
        "arguments": ask.arguments is not None,
        "preconditions": bool(ask.preconditions),
        "session": ask.session is None,
        "allowed_decisions": Decision.RESPOND in (ask.allowed_decisions or ()),
    }
    if errors := [{"field": name, "detail": NOT_OF_A_PLAN[name]} for name, is_wrong in wrong.items() if is_wrong]:
        raise problems.invalid(errors)
    manifest = whole(plan)
    if errors := list(_unseen(manifest)):
        raise problems.invalid(errors)
    risk, reversibility = gravest(manifest, ask.risk, ask.reversibility)
    return msgspec.structs.replace(ask, arguments=manifest, risk=risk, reversibility=reversibility)


def gravest(manifest: Manifest, risk: str | None, reversibility: str | None) -> tuple[str, str]:
    """Return the highest risk and reversibility of the steps and of what the asker states of the whole."""
    risks = [*(step["risk"] for step in manifest["steps"]), raised_risk(risk)]
    ways = [*(step["reversibility"] for step in manifest["steps"]), *([reversibility] if reversibility else [])]
    risk_order, order = list(Risk), list(Reversibility)
    worst = max(risks, key=lambda each: risk_order.index(Risk(each)))
    return worst, max(ways, key=lambda each: order.index(Reversibility(each)))


def narrowed(asked: Manifest, wanted: Any) -> Manifest:
    """Return the manifest that a person makes of the one that was asked for. It only ever gets narrower.

    Steps may be left out; a count or the life may get smaller; a glob may become one resource, and a pattern one value.
    Raises invalid.
    """
    manifest = whole(wanted if isinstance(wanted, Mapping) else {}, "arguments")
    errors = []
    if asked["ordered"] and not manifest["ordered"]:
        errors.append({"field": "arguments.ordered", "detail": "the plan was asked for in order"})
    if manifest["expires_in_secs"] > asked["expires_in_secs"]:
        errors.append({"field": "arguments.expires_in_secs", "detail": "is longer than what was asked for"})
    rest = iter(asked["steps"])
    for number, step in enumerate(manifest["steps"]):
        # In the same order, and each step of the asker stands for one step at most.
        if not any(_is_narrower(step, each) for each in rest):
            errors.append(
                {"field": f"arguments.steps[{number}]", "detail": "is wider than any step that was asked for"}
            )
            break
    if errors:
        raise problems.invalid(errors, "A plan can only be made narrower.")
    return manifest


def covers(step: Step, action: Mapping[str, Any], risk: str, reversibility: str) -> bool:
    """Return True if a call is one of this step: nothing graver, and every argument as announced."""
    if not (is_within(risk, step["risk"], Risk) and is_within(reversibility, step["reversibility"], Reversibility)):
        return False
    if (action["tool_name"], action["permission"]) != (step["tool_name"], step["permission"]):
        return False
    # Facts that the call depends on were not announced, so nobody has approved them.
    if action.get("preconditions") or action["tool_schema_version"] is not None:
        return False
    return _is_resource(step, action["resource"]) and _are_arguments(step, action["arguments"])


def _is_resource(step: Step, resource: str) -> bool:
    if step["glob"] is not None:
        return patterns.is_glob_match(step["glob"], resource)
    return bool(resource == step["resource"])


def _are_arguments(step: Step, arguments: Any) -> bool:
    varying = step["patterns"] or {}
    if not varying:
        return jcs.canonical(arguments) == jcs.canonical(step["arguments"])
    if not isinstance(arguments, dict) or not set(varying) <= set(arguments):
        return False
    rest = {name: value for name, value in arguments.items() if name not in varying}
    return jcs.canonical(rest) == jcs.canonical(step["arguments"] or {}) and all(
        patterns.fits(arguments[name], bound, like=None) for name, bound in varying.items()
    )


def _is_narrower(step: Step, asked: Step) -> bool:
    """Return True if every call of a step is one of another step, and they are not more."""
    same = ("tool_name", "permission", "risk", "reversibility")
    if any(step[name] != asked[name] for name in same) or step["count"] > asked["count"]:
        return False
    same_place = (step["glob"], step["resource"]) == (asked["glob"], asked["resource"])
    if not same_place and (step["resource"] is None or not _is_resource(asked, step["resource"])):
        return False
    wanted = step["patterns"] or {}
    allowed = asked["patterns"] or {}
    if any(jcs.canonical(bound) != jcs.canonical(allowed.get(name)) for name, bound in wanted.items()):
        return False
    # A pattern that became one value stands among the arguments now.
    open_still = {**asked, "patterns": {name: bound for name, bound in allowed.items() if name not in wanted}}
    if allowed:
        # Beside patterns, no arguments are an empty object, also when each pattern is still one.
        open_still["arguments"] = asked["arguments"] or {}
    return _are_arguments(open_still, step["arguments"] or ({} if allowed else step["arguments"]))


def _unseen(manifest: Manifest) -> Iterator[dict[str, str]]:
    """Yield the patterns that the copy for people hides: nobody would see their other values."""
    for each in redaction.json_copy(manifest).hidden:
        if len(each.path) > 2 and each.path[2] in ("patterns", "glob"):
            steps = [step for step in each.path[:4] if isinstance(step, str | int)]
            field = functools.reduce(faults.step, steps, "plan")
            yield {"field": field, "detail": "is hidden from those who approve, so it cannot vary: name its value"}


def _mixed(plan: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the contradictions inside the steps of a plan."""
    steps = plan.get("steps")
    for number, step in enumerate(steps if isinstance(steps, list) else []):
        if not isinstance(step, Mapping):
            continue
        if (step.get("resource") is None) is (step.get("glob") is None):
            yield {"field": f"steps[{number}].resource", "detail": "name a `resource` or a `glob`"}
        both = set(step.get("arguments") or {}) & set(step.get("patterns") or {})
        if both:
            yield {"field": f"steps[{number}].patterns", "detail": "names an argument that is among `arguments`, too"}
