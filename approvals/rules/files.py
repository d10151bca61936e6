"""Rules from a YAML file: read with the place of each error, compared with the project's rules, applied at once.

rules:
  - name: no shells
    match: {tools: [shell]}
    outcome: deny
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import yaml

from accounts.actors import Actor
from approvals.models import Rule
from approvals.rules import editing, schemas
from approvals.rules.bodies import RuleBody
from core.web import problems, request_body
from ledger import unit_of_work

MAX_CHARACTERS = 2 * 1024 * 1024


class BadFile(Exception):
    """The file cannot be applied. Its errors name the line, the rule and the field."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


@dataclass(slots=True)
class Plan:
    """The changes that make the project's rules those of the file."""

    added: list[RuleBody] = field(default_factory=list)
    changed: list[tuple[Rule, RuleBody]] = field(default_factory=list)
    deleted: list[Rule] = field(default_factory=list)
    unchanged: int = 0

    def lines(self) -> Iterator[str]:
        """Yield the diff for a reader."""
        for body in self.added:
            yield f"+ {body.name}"
            for name, value in _shown(body).items():
                if value != DEFAULTS.get(name):
                    yield f"    {name}: {_text(value)}"
        for rule, body in self.changed:
            yield f"~ {rule.name} (version {rule.version})"
            before, after = schemas.plain(rule), _shown(body)
            for name in after:
                if before[name] != after[name]:
                    yield f"    {name}: {_text(before[name])} -> {_text(after[name])}"
        for rule in self.deleted:
            yield f"- {rule.name}"
        counts = f"{len(self.added)} added, {len(self.changed)} changed, {len(self.deleted)} deleted"
        yield f"{counts}, {self.unchanged} unchanged"


def read(text: str) -> list[tuple[Any, RuleBody]]:
    """Return the rules of a file, each with its node. Raises BadFile with every error."""
    if len(text) > MAX_CHARACTERS:
        raise BadFile([f"the file is longer than {MAX_CHARACTERS} characters"])
    try:
        nodes = _nodes(yaml.compose(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise BadFile([str(error)]) from None
    found: list[tuple[Any, RuleBody]] = []
    errors: list[str] = []
    lines: dict[str, int] = {}
    for number, node in enumerate(nodes, 1):
        line = node.start_mark.line + 1
        try:
            body = request_body.convert(_Loader().construct_document(node), RuleBody, "is not valid")
        except problems.Problem as refusal:
            members = node.value if isinstance(node, yaml.MappingNode) else []
            names = [f" ({value.value})" for key, value in members if key.value == "name"]
            errors += _errors(node, f"rule {number}{''.join(names[:1])}", refusal)
            continue
        except (yaml.YAMLError, RecursionError) as error:
            errors.append(f"line {line}, rule {number}: {error}")
            continue
        if body.name in lines:
            errors.append(
                f"line {line}, rule {number} ({body.name}): name: is that of the rule in line {lines[body.name]}"
            )
        lines.setdefault(body.name, line)
        found.append((node, body))
    if errors:
        raise BadFile(errors)
    return found


def plan(project_id: Any, wanted: list[tuple[Any, RuleBody]], *, prune: bool) -> Plan:
    """Compare the file with the rules of the project. With `prune`, rules that the file lacks are deleted.

    Raises BadFile when a rule does not fit the project.
    """
    current = {rule.name: rule for rule in editing.rules_of(project_id)}
    found, errors = Plan(), list[str]()
    for number, (node, body) in enumerate(wanted, 1):
        try:
            editing.check(project_id, body)
        except problems.Problem as refusal:
            errors += _errors(node, f"rule {number} ({body.name})", refusal)
            continue
        rule = current.pop(body.name, None)
        if rule is None:
            found.added.append(body)
        elif schemas.plain(rule) != _shown(body):
            found.changed.append((rule, body))
        else:
            found.unchanged += 1
    if errors:
        raise BadFile(errors)
    found.deleted = list(current.values()) if prune else []
    return found


def apply(project_id: Any, wanted: list[tuple[Any, RuleBody]], actor: Actor, *, prune: bool) -> Plan:
    """Apply a file in one transaction, and return its changes. Raises BadFile, and nothing is changed."""
    with unit_of_work.transaction():
        editing.lock(project_id)
        found = plan(project_id, wanted, prune=prune)
        for rule in found.deleted:
            editing.delete(project_id, rule.id, actor)
        for rule, body in found.changed:
            editing.change(project_id, rule.id, body, actor)
        for body in found.added:
            editing.create(project_id, body, actor)
        return found


def _nodes(root: Any) -> list[Any]:
    """Return the node of each rule. Raises BadFile for a file of another form."""
    if isinstance(root, yaml.MappingNode):
        names = [key.value for key, _ in root.value]
        if names == ["rules"] and isinstance(root.value[0][1], yaml.SequenceNode):
            return list(root.value[0][1].value)
    raise BadFile(["the file must be a mapping with one member, `rules`, a list of rules"])


class _Loader(yaml.SafeLoader):
    """Refuses a repeated key, which YAML's own loader would take as an overwrite."""

    def __init__(self) -> None:
        super().__init__("")

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for at, key in enumerate(keys):
            if key in keys[:at]:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _errors(node: Any, rule: str, refusal: problems.Problem) -> list[str]:
    listed = refusal.extra.get("errors") or [{"field": "", "detail": refusal.detail}]
    return [
        f"line {_line(node, each['field'])}, {rule}: {': '.join(filter(None, (each['field'], each['detail'])))}"
        for each in listed
    ]


def _line(node: Any, path: str) -> int:
    """Return the line of a member of a rule, as `match.tools[0]`. A missing one has that of the part around it."""
    mark = node.start_mark
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(node, yaml.SequenceNode):
            if not step.isdecimal() or int(step) >= len(node.value):
                break
            node = node.value[int(step)]
            mark = node.start_mark
            continue
        named = [pair for pair in node.value if pair[0].value == step] if isinstance(node, yaml.MappingNode) else []
        if not named:
            break
        mark, node = named[0][0].start_mark, named[0][1]
    return int(mark.line) + 1


def _shown(body: RuleBody) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(body)
    del found["version"]
    return found | {"message": body.message or None}


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


DEFAULTS = _shown(RuleBody(name="", outcome=""))
