"""The form of a rule: plain fields for everything but the condition, and back to the body that all edges share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django import forms

from accounts import projects
from accounts.models import Project, User
from approvals.models import Reviewer, Rule
from approvals.rules import schemas
from approvals.rules.bodies import MAX_STEPS, RuleBody
from approvals.states import OnExpiry, Reversibility, Risk, RuleOutcome
from core.adminsite.forms import BodyForm
from core.adminsite.lines import Lines
from core.display.text import visible

#: The rows for escalations that a new rule offers.
FEWEST_ROWS = 2
#: The field of the form for a path in a body. Others keep their last name.
FIELDS = {
    "match.depth.min": "depth_min",
    "match.depth.max": "depth_max",
    "review": "reviewer",
    "review.deadline_secs": "review_secs",
}


def _words(words: Any) -> forms.MultipleChoiceField:
    choices = [(word.value, word.label.lower()) for word in words]
    return forms.MultipleChoiceField(choices=choices, required=False, widget=forms.CheckboxSelectMultiple)


def _raise(words: Any) -> forms.ChoiceField:
    return forms.ChoiceField(
        choices=[("", "leave as asked"), *((each.value, each.value) for each in words)], required=False
    )


def _number(help_text: str = "", label: str | None = None) -> forms.IntegerField:
    return forms.IntegerField(required=False, help_text=help_text, label=label)


class RuleForm(BodyForm):
    """Everything that a rule can say. Errors of the body come back to the field that they are about."""

    name = forms.CharField(max_length=64)
    outcome = forms.ChoiceField(
        choices=[(each.value, each.value) for each in RuleOutcome], initial=RuleOutcome.ASK.value
    )
    message = forms.CharField(required=False, max_length=2000, help_text="For the agent, with a denial.")
    enabled = forms.BooleanField(required=False, initial=True)
    shadow = forms.BooleanField(required=False, help_text="It answers nothing, and its answer is only recorded.")
    tools = Lines(help_text="One a line; * stands for any text. Empty: every tool.")
    permissions = Lines(help_text="As for tools.")
    resources = Lines(help_text="As for tools.")
    roles = Lines(help_text="The role of the session that asks. A rule that allows needs a proven role.")
    tree_roles = Lines(help_text="The role of that session, or of one above it.")
    risk = _words(Risk)
    reversibility = _words(Reversibility)
    depth_min, depth_max = _number("0 is a root."), _number()
    when = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "class": "wr-mono"}),
        help_text="A CEL condition over arguments, session and approval. If it cannot be evaluated, people are asked.",
    )
    raise_risk, raise_reversibility = _raise(Risk), _raise(Reversibility)
    users = Lines(help_text="Only these people, one a line. Empty with the groups: everybody with the right to answer.")
    groups = Lines(help_text="And the members of these groups.")
    quorum = forms.IntegerField(initial=1, min_value=1, help_text="So many people must approve. One denial is enough.")
    four_eyes = forms.BooleanField(
        required=False, help_text="The owner of the session or key that asks may not answer."
    )
    review_secs = _number(
        "Seconds after the ask. Without a verdict by then, people answer. Empty: 30.", "Review within"
    )
    may_allow = forms.BooleanField(
        required=False, help_text="The reviewer's ALLOW approves the request, where no other rule asks people."
    )
    deadline_secs = _number("Seconds after the ask. Empty: none.", "Deadline")
    on_expiry = forms.ChoiceField(choices=[(each.value, each.value) for each in OnExpiry])
    remind_after_secs = Lines(label="Reminders", help_text="Seconds after the ask, one a line, before the deadline.")
    matches_everything = forms.BooleanField(
        required=False, label="It may allow every request", help_text="Needed for a rule that allows without a match."
    )
    version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    SECTIONS = (
        ("Rule", ("project", "name", "outcome", "message", "enabled", "shadow")),
        ("Match", ("tools", "permissions", "resources", "roles", "tree_roles", "risk", "reversibility", "depth_min",
                   "depth_max", "when", "matches_everything")),
        ("Harm", ("raise_risk", "raise_reversibility")),
        ("Review", ("reviewer", "review_secs", "may_allow")),
        ("Who answers", ("users", "groups", "quorum", "four_eyes")),
        ("Time", ("deadline_secs", "on_expiry", "remind_after_secs")),
    )  # fmt: skip

    def __init__(self, user: User, posted: Mapping[str, Any] | None = None, rule: Rule | None = None) -> None:
        steps = rule.escalate if rule is not None else []
        typed = {int(found[1]) + 1 for name in posted or () if (found := re.fullmatch(r"step(\d)_after", name))}
        self.rows = min(MAX_STEPS, max(FEWEST_ROWS, len(steps) + 1, *typed, 0))
        super().__init__(posted, initial=initial(rule) if rule is not None else None)
        mine = projects.visible_to(user) if rule is None else Project.objects.filter(pk=rule.project_id)
        names = set(Reviewer.objects.filter(project__in=mine).values_list("name", flat=True))
        # One that was deleted under the form stays chosen, and is refused in words.
        names |= {name for name in ((posted or {}).get("reviewer"), self.initial.get("reviewer")) if name}
        self.fields["reviewer"] = forms.ChoiceField(
            required=False, choices=[("", "none"), *((name, visible(name)) for name in sorted(names))],
            help_text="For the outcome review." if names else "For the outcome review. There is no reviewer yet.",
        )  # fmt: skip
        if rule is None:
            self.fields["project"] = forms.ModelChoiceField(
                queryset=mine, initial=mine.first() if len(mine) == 1 else None
            )
        for at in range(self.rows):
            self.fields[f"step{at}_after"] = _number("Seconds after the ask.", "After")
            self.fields[f"step{at}_users"] = Lines(label="Users", help_text="One a line.")
            self.fields[f"step{at}_groups"] = Lines(label="Groups", help_text="One a line.")

    def sections(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield the titles and the fields of the page."""
        for title, names in self.SECTIONS:
            yield title, [self[name] for name in names if name in self.fields]
        for at in range(self.rows):
            yield f"Escalation {at + 1}", [self[f"step{at}_{part}"] for part in ("after", "users", "groups")]

    def clean(self) -> dict[str, Any]:
        """Refuse to save a rule that allows every request without a tick. A preview saves nothing."""
        clean = self.cleaned_data
        allows = clean.get("outcome") == RuleOutcome.ALLOW and not clean.get("matches_everything")
        if allows and not self.errors and "preview" not in self.data and is_everything(_match(clean)):
            self.add_error("matches_everything", "It would allow every request of the project. Tick this if it should.")
        return clean

    def body(self) -> RuleBody | None:
        """Return the rule of a valid form. Otherwise the form has errors now, and the answer is None."""
        if not self.is_valid():
            return None
        return self.converted(_said(self.cleaned_data, self.rows), RuleBody)

    def field_of(self, path: str) -> str:
        """Return the field for a path in the body. A step of escalation has the row in which it was typed."""
        step = re.fullmatch(r"escalate\[(\d+)\](?:\.(\w+))?(?:\[\d+\])?", path)
        if step is None:
            path = re.sub(r"\[\d+\]$", "", path)
            return FIELDS.get(path, path.rpartition(".")[2])
        number = int(step[1])
        filled = [at for at in range(self.rows) if self.cleaned_data.get(f"step{at}_after") is not None]
        row = filled[number] if number < len(filled) else 0
        part = {"after_secs": "after", "users": "users", "groups": "groups"}.get(step[2] or "", "users")
        return f"step{row}_{part}"


def initial(rule: Rule) -> dict[str, Any]:
    """Return the values of a stored rule as the form shows them."""
    said: dict[str, Any] = schemas.plain(rule)
    match, depth = said["match"], said["match"]["depth"] or {}
    review = said["review"] or {}
    found = {name: value for name, value in said.items() if name not in ("match", "approvers", "escalate", "review")}
    found |= {name: value for name, value in match.items() if name != "depth"}
    found |= {
        "depth_min": depth.get("min"),
        "depth_max": depth.get("max"),
        "reviewer": review.get("reviewer"),
        "review_secs": review.get("deadline_secs"),
        "may_allow": review.get("may_allow"),
        "version": rule.version,
        **said["approvers"],
    }
    for at, step in enumerate(said["escalate"]):
        found |= {f"step{at}_after": step["after_secs"]}
        found |= {f"step{at}_{part}": step[part] for part in ("users", "groups")}
    return found


def _match(clean: dict[str, Any]) -> dict[str, Any]:
    match = {name: clean[name] for name in ("tools", "permissions", "resources", "roles", "tree_roles", "risk")}
    match |= {"reversibility": clean["reversibility"], "when": clean["when"].replace("\r\n", "\n") or None}
    if clean["depth_min"] is not None or clean["depth_max"] is not None:
        match["depth"] = {"min": clean["depth_min"], "max": clean["depth_max"]}
    return match


def _said(clean: dict[str, Any], rows: int) -> dict[str, Any]:
    steps = [
        {"after_secs": clean[f"step{at}_after"], "users": clean[f"step{at}_users"], "groups": clean[f"step{at}_groups"]}
        for at in range(rows)
        if clean[f"step{at}_after"] is not None
    ]
    said = {name: clean[name] for name in ("name", "outcome", "enabled", "shadow", "four_eyes", "on_expiry", "version")}
    said |= {name: clean[name] or None for name in ("message", "raise_risk", "raise_reversibility", "deadline_secs")}
    numbers = [int(line) if line.isascii() and line.isdigit() and len(line) < 10 else line
               for line in clean["remind_after_secs"]]  # fmt: skip
    if clean["reviewer"] or clean["review_secs"] or clean["may_allow"]:
        said["review"] = {"reviewer": clean["reviewer"], "may_allow": clean["may_allow"]}
        said["review"] |= {} if clean["review_secs"] is None else {"deadline_secs": clean["review_secs"]}
    approvers = {name: clean[name] for name in ("users", "groups", "quorum")}
    return said | {"match": _match(clean), "approvers": approvers, "remind_after_secs": numbers, "escalate": steps}


def summary(rule: Rule) -> list[tuple[str, str]]:
    """Return a rule for readers who may not change it: each field that says something, as text."""
    found = []
    for name, value in initial(rule).items():
        if value not in (None, [], "", False) and name not in ("name", "version"):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            found.append((name.replace("_", " "), text))
    return found


def is_everything(match: Mapping[str, Any]) -> bool:
    """Return True if these members of a rule leave no request out."""
    return all(not value or (isinstance(value, list) and "*" in value) for value in match.values())


def matches(rule: Rule) -> str:
    """Return the members of a rule's match in one line."""
    match = schemas.plain(rule)["match"]
    if is_everything(match):
        return "every request"
    said = []
    for name, value in match.items():
        if name == "depth" and value:
            bounds = [f"{value[end]} or {words}" for end, words in (("min", "more"), ("max", "less"))
                      if value[end] is not None]  # fmt: skip
            said.append(f"depth: {', '.join(bounds)}")
        elif value:
            words = ", ".join(value) if isinstance(value, list) else value
            said.append(f"{name.replace('_', ' ')}: {words}")
    return "; ".join(said)
