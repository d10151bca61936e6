"""The page of one approval, drawn from the canonical action alone, and the answers that its forms send back."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from approvals import askers, attempt_clock, permissions, schemas, selectors
from approvals.adminsite import demands, outcomes, plans, response_form
from approvals.decision_validation import Answer
from approvals.display import copies, differences
from approvals.grants import offers
from approvals.models import Approval
from approvals.outcomes import repeats
from approvals.states import BASE_RISK, Decision, Risk, Status
from core.display import whitespace
from core.display.redaction import NAME, Hidden, json_copy, redacted
from core.display.text import alike, mixed_scripts, turns, visible
from core.web import faults, problems
from wardroom import jcs, strict

TONES = {
    Status.PENDING: "wait",
    Status.APPROVED: "good",
    Status.DENIED: "bad",
    Status.EXPIRED: "",
    Status.CANCELLED: "",
}
PLAIN_NAME = re.compile(r"[!-~]+")
#: Characters that are counted at a glance.
GLANCE = 80
RISK_TONES = {Risk.LOW: "", Risk.MEDIUM: "", Risk.HIGH: "wait", Risk.CRITICAL: "bad"}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: a string as it is, any other value as JSON. Nothing is cut."""

    name: str
    value: Any
    #: How an edit changed it: `changed`, `added`, `removed`, or an empty text.
    mark: str = ""
    #: The value before the edit, of a `changed` argument as it is now.
    before: Any = None

    @property
    def is_text(self) -> bool:
        return isinstance(self.value, str)

    @property
    def is_command(self) -> bool:
        return self.is_text and self.name == "command"

    @property
    def shown_name(self) -> str:
        """Return the name, in quotes if it has other characters than printable ASCII.

        Without quotes a space at its end would not show.
        """
        return self.name if PLAIN_NAME.fullmatch(self.name) else f"\u201c{visible(self.name)}\u201d"

    @property
    def text(self) -> str:
        return self.value if self.is_text else json.dumps(self.value, ensure_ascii=False, indent=2)

    @property
    def differences(self) -> list[differences.Difference]:
        """Return the places inside the argument that an edit changed."""
        return differences.between(self.before, self.value)[: differences.MOST] if self.before is not None else []

    @property
    def has_more_differences(self) -> bool:
        return self.before is not None and len(differences.between(self.before, self.value)) > differences.MOST

    @property
    def size(self) -> str:
        """Return the length of the text if a reader cannot see it at a glance, else an empty string."""
        size = whitespace.extent(self.text)
        return str(size) if size.lines > 1 or size.characters > GLANCE else ""


def context(approval: Approval, request: HttpRequest) -> dict[str, Any]:
    """Return the facts of an approval and its outcome, for the template."""
    shown = copies.of(approval)
    action = shown.action
    user: Any = request.user
    never_runs = False
    if approval.status == Status.APPROVED and approval.consumed_at is None:
        session, attempt = approval.session, approval.attempt
        never_runs = session is not None and attempt is not None and attempt_clock.is_over(session, attempt)
    runs = repeats.open_runs([approval]) if approval.status == Status.PENDING else {}
    return {
        "open_run": runs.get((approval.project_id, approval.likeness)),
        "extent": extent(approval),
        "approval": approval,
        "action": action,
        "arguments": listed(action["arguments"], shown.proposed, "added" if approval.proposed_action else ""),
        "proposed": listed(shown.proposed, action["arguments"], "removed") if approval.proposed_action else None,
        "canonical": jcs.canonical(action) if shown.count else approval.action,
        "resource": action["resource"],
        "redacted": shown.count,
        "hidden": hidden_fields(shown),
        "may_reveal": user.has_perm(permissions.VIEW_SECRETS),
        "tone": TONES[Status(approval.status)],
        "risk_tone": RISK_TONES[Risk(approval.risk)],
        "least_risk": BASE_RISK,
        "pending": approval.status == Status.PENDING and not approval.is_overdue,
        "current": schemas.current_sentence(approval),
        "done": None if approval.status == Status.PENDING else schemas.past_tense(approval),
        "warnings": warnings(approval),
        "is_question": Decision.RESPOND in approval.allowed_decisions,
        "repeats_command": repeats_command(action),
        "never_runs": never_runs,
        "preconditions": action.get("preconditions", []),
        "path": selectors.names_of_path(approval) if len(approval.path) > 1 else [],
        "response": listed(copies.value(approval.response)),
        "questions": approval.questions.order_by("asked_at", "id"),
        "steps": approval.steps.order_by("id"),
        **outcomes.context(approval, user),
        **plans.context(approval, user),
        **demands.context(approval, user),
    }


def extent(approval: Approval) -> whitespace.Extent:
    """Return the total length of the arguments and the resource. A resource that repeats the command counts once.

    An answer to a long action must confirm that its end was seen.
    """
    action = copies.of(approval).action
    texts = [argument.text for argument in listed(action["arguments"])]
    return whitespace.extent(*texts, *([] if repeats_command(action) else [action["resource"]]))


def repeats_command(action: Mapping[str, Any]) -> bool:
    """Return True if the resource of an action says the command again."""
    return bool(action["resource"] == (action["arguments"] or {}).get("command"))


def hidden_fields(shown: copies.DisplayCopy) -> list[str]:
    """Name each hidden argument, and the size of a large one: a long value is seldom a password."""
    found = []
    for each in shown.hidden:
        where = _place(each)
        size = whitespace.extent(str(each.secret))
        is_large = size.lines > 1 or size.characters > GLANCE
        found.append(f"{where} ({size})" if is_large else where)
    return list(dict.fromkeys(found))


def revealed(approval: Approval) -> list[Argument]:
    """List each hidden value with its place, for a person who may see them."""
    shown = copies.of(approval)
    found = [Argument(_place(each), each.secret) for each in shown.hidden]
    whole = [Argument("resource", approval.resource)] if shown.action["resource"] != approval.resource else []
    before = json_copy(approval.proposed_arguments).hidden if approval.proposed_action else []
    facts = zip(shown.action.get("preconditions", []), approval.preconditions, strict=True)
    changed = [Argument(f"precondition {real['name']}", real["shown"]) for seen, real in facts if seen != real]
    return found + whole + changed + [Argument(f"proposed: {_place(each)}", each.secret) for each in before]


def _place(hidden: Hidden) -> str:
    """Return the place of a hidden argument as errors write it."""
    steps = [*hidden.path[:-2], "a name"] if hidden.path and hidden.path[-1] is NAME else hidden.path
    return functools.reduce(faults.step, steps, "")


def listed(arguments: Mapping[str, Any] | None, other: Any = None, absent: str = "") -> list[Argument]:
    """List every argument, the command first. `absent` is the mark of those that the `other` side of an edit lacks."""

    def mark(name: str, value: Any) -> str:
        if not absent or json.dumps((other or {}).get(name), sort_keys=True) == json.dumps(value, sort_keys=True):
            return absent if absent and name not in (other or {}) else ""
        return "changed" if name in (other or {}) else absent

    def before(name: str) -> Any:
        return (other or {}).get(name) if absent == "added" else None

    found = [Argument(name, value, mark(name, value), before(name)) for name, value in (arguments or {}).items()]
    return sorted(found, key=lambda argument: not argument.is_command)


def warnings(approval: Approval) -> list[str]:
    """List the warnings about lookalike words and invisible characters anywhere in the action."""
    shown = jcs.canonical(copies.of(approval).action)
    texts = [shown, redacted(approval.question or "")]
    found = [f"{mixed}." for text in texts for mixed in mixed_scripts(text)]
    if any(visible(text, lines=True) != text for text in _strings(approval.action)):
        found.append("Some characters would not show; they are written as \\u{…} below.")
    if any(part.is_mark for text in _strings(approval.action) for part in whitespace.parts(text)):
        found.append("Whitespace that could push text out of sight is counted in its place below.")
    for one, other in alike_names(json.loads(shown)):
        found.append(f"Two names look alike: \u201c{visible(one)}\u201d and \u201c{visible(other)}\u201d.")
    if any(turns(text) for text in _strings(approval.action)):
        found.append("Some letters read from right to left: the text around them may not run in the order shown.")
    return found


def forms(approval: Approval, request: HttpRequest, refusal: problems.Problem | None = None) -> dict[str, Any]:
    """Return the answers that are possible, with the values that were typed before a refusal."""
    arguments = copies.of(approval).arguments or {}
    command = arguments.get("command") if approval.tool_name == "shell" else None
    simple = isinstance(command, str) and visible(command, lines=True) == command
    rest = {name: value for name, value in arguments.items() if not (simple and name == "command")}
    typed = request.POST if refusal else {}
    return {
        "allowed": {kind.value: kind.value in approval.allowed_decisions for kind in Decision},
        "command": typed.get("command", command) if simple else None,
        "command_rows": max(4, min(12, str(command).count("\n") + 1)),
        "response_fields": response_form.fields(approval.response_schema, typed) if approval.response_schema else [],
        "tool_schema": editable(copies.schema(approval.tool_schema.schema)) if approval.has_tool_schema else "",
        "editor": typed.get("arguments", editable(rest)),
        "editing": typed.get("decision") == Decision.EDIT,
        "typed": {name: typed.get(name, "") for name in ("message", "note", "break_glass")},
        "remembering": offers.choices(approval, askers.facts_of(approval.session).role),
        "remembered": typed.get("remember", ""),
        "refusal": refusal,
        "seen": typed.get("seen") == approval.digest,
        "errors": refusal.extra.get("errors", []) if refusal else [],
    }


def editable(arguments: Mapping[str, Any]) -> str:
    """Return the arguments as JSON to edit.

    If a character would not show, escape every character outside ASCII.
    """
    text = json.dumps(arguments, ensure_ascii=False, indent=2)
    if visible(text, lines=True) == text:
        return text
    return json.dumps(arguments, ensure_ascii=True, indent=2)


def answer(posted: Mapping[str, str], approval: Approval) -> Answer:
    """Read the answer from a form. It must carry the version and the digest that were shown.

    A long action runs only if `seen` says that its end was on the screen: nobody approves an action after reading only
    its beginning.
    """
    is_run = posted.get("decision") in (Decision.APPROVE, Decision.EDIT)
    if is_run and posted.get("seen") != approval.digest and extent(approval).is_long:
        detail = f"Scroll to its end, or tick that you have seen all of it: {extent(approval)}."
        raise problems.invalid([{"field": "seen", "detail": detail}], "You have not seen the end of the action.")
    missing = [name for name in ("version", "digest") if not posted.get(name)]
    if missing:
        raise problems.invalid([{"field": name, "detail": "is missing"} for name in missing])
    version, arguments = posted["version"], None
    if posted.get("decision") == Decision.EDIT:
        try:
            arguments = strict.loads(posted.get("arguments") or "{}")
        except strict.StrictJSONError as error:
            raise problems.invalid([{"field": "arguments", "detail": str(error)}]) from None
        command = _text(posted.get("command"))
        if command is not None and isinstance(arguments, dict):
            if "command" in arguments:
                detail = "the command stands in its own field: leave it out here"
                raise problems.invalid([{"field": "arguments", "detail": detail}])
            arguments = {"command": command, **arguments}
    unchecked: dict[str, Any] = {
        "decision": posted.get("decision"),
        "digest": posted["digest"],
        "version": int(version) if version.isascii() and version.isdigit() and len(version) < 10 else version,
        "message": _text(posted.get("message")),
        "note": _text(posted.get("note")),
        "break_glass": _text(posted.get("break_glass")) or None,
        "arguments": arguments,
        # The form of a denial has the same fields.
        "remember": offers.chosen(posted.get("remember", "")) if is_run else None,
    }
    if approval.response_schema and posted.get("decision") == Decision.RESPOND:
        unchecked["response"] = response_form.response(approval.response_schema, posted)
    return Answer(**unchecked)


def _text(value: str | None) -> str | None:
    # Browsers send a text area's lines with CR LF.
    return None if value is None else value.replace("\r\n", "\n")


def alike_names(value: Any) -> list[tuple[str, str]]:
    """List pairs of names in the same object, at any depth, that a reader may confuse."""
    found, values = [], [value]
    while values:
        here = values.pop()
        if isinstance(here, dict):
            found += alike(here)
            values += here.values()
        elif isinstance(here, list):
            values += here
    return found


def _strings(action: str) -> list[str]:
    found: list[str] = []
    values = [json.loads(action)]
    while values:
        value = values.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            found += value
            values += value.values()
        elif isinstance(value, list):
            values += value
    return found
