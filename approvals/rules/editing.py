"""Add, change and delete rules. Each change raises the project's version, and is an event and an audit row with it."""

from __future__ import annotations

import math
import time
from typing import Any
from uuid import UUID

import msgspec
from django.contrib.auth.models import Group
from django.db.models import QuerySet

from accounts.actors import Actor
from accounts.models import Project
from approvals import audit_events, permissions
from approvals.models import Policy, Reviewer, Rule
from approvals.rules import schemas
from approvals.rules.bodies import RuleApprovers, RuleBody, RuleEscalation
from approvals.states import OnExpiry, RuleOutcome
from core.db.clock import database_now
from core.limits import LIMITS
from core.web import problems
from ledger import unit_of_work

#: The most rules of one project.
MOST_RULES = 5000
#: The beginnings of the names under which other things than rules answer.
RESERVED = ("disabled_tools", "grant:", "plan:")
NOBODY = "nobody by this name may answer in this project"


def rules_of(project_id: Any) -> QuerySet[Rule]:
    """Return the rules of a project, by name."""
    return Rule.objects.filter(project_id=project_id)


def find(project_id: Any, rule_id: UUID) -> Rule:
    """Return one rule. Raises not-found, the same for an unknown rule and for a foreign one."""
    rule = rules_of(project_id).filter(id=rule_id).first()
    if rule is None:
        raise problems.not_found()
    return rule


def create(project_id: Any, body: RuleBody, actor: Actor) -> Rule:
    """Add a rule. Raises invalid, and conflict when the project has a rule of this name."""
    with unit_of_work.transaction():
        lock(project_id)
        check(project_id, body)
        rules = rules_of(project_id)
        if rules.count() >= MOST_RULES:
            raise problems.too_many(f"A project has at most {MOST_RULES} rules.", 60)
        refuse_taken(rules, body.name)
        rule = Rule(project_id=project_id, changed_at=database_now(), changed_by=audit_events.person(actor))
        fill(rule, body)
        rule.save(force_insert=True)
        rule.refresh_from_db()
        return _recorded(rule, actor, "created", None, schemas.plain(rule))


def change(project_id: Any, rule_id: UUID, body: RuleBody, actor: Actor, *, version: int | None = None) -> Rule:
    """Replace a rule. Nothing changes, and nothing is recorded, if it is the same.

    With a `version`, here or in the body, the rule must still have it. Raises not-found, version-conflict, invalid, and
    conflict when another rule has the name.
    """
    with unit_of_work.transaction():
        lock(project_id)
        rule = find(project_id, rule_id)
        for wanted in (version, body.version):
            if wanted is not None and wanted != rule.version:
                raise problems.conflict(
                    f"The rule changed: it is at version {rule.version}.", "version-conflict", version=rule.version
                )
        check(project_id, body)
        refuse_taken(rules_of(project_id).exclude(id=rule_id), body.name)
        before = schemas.plain(rule)
        fill(rule, body)
        if schemas.plain(rule) == before:
            return rule
        rule.version += 1
        rule.changed_at, rule.changed_by = database_now(), audit_events.person(actor)
        rule.save(force_update=True)
        rule.refresh_from_db()
        return _recorded(rule, actor, "changed", before, schemas.plain(rule))


def delete(project_id: Any, rule_id: UUID, actor: Actor) -> None:
    """Delete a rule. Requests keep the demands that they copied from it. Raises not-found."""
    with unit_of_work.transaction():
        lock(project_id)
        rule = find(project_id, rule_id)
        before = schemas.plain(rule)
        _recorded(rule, actor, "deleted", before, None)
        Rule.objects.filter(id=rule_id).delete()


def check(project_id: Any, body: RuleBody) -> None:
    """Check fields against each other and against the project: times, and names of people and reviewers.

    Raises invalid.
    """
    errors = [*_time_errors(body), *_people_errors(project_id, body)]
    if body.review is not None:
        named = Reviewer.objects.filter(project_id=project_id, name=body.review.reviewer)
        if body.outcome != RuleOutcome.REVIEW:
            errors.append({"field": "review", "detail": "is for the outcome review"})
        elif not named.exists():
            errors.append({"field": "review.reviewer", "detail": "this project has no reviewer of this name"})
    if body.name.startswith(RESERVED):
        errors.append({"field": "name", "detail": "is reserved"})
    if errors:
        raise problems.invalid(errors)


def _time_errors(body: RuleBody) -> list[dict[str, str]]:
    end = body.deadline_secs
    errors = []
    if end is None:
        if body.on_expiry == OnExpiry.PENDING:
            errors.append({"field": "on_expiry", "detail": "needs a deadline_secs"})
        return errors
    # The sweep must come between a step and the deadline.
    spare = math.ceil(2 * LIMITS.sweep_secs)
    steps = [(f"remind_after_secs[{at}]", secs) for at, secs in enumerate(body.remind_after_secs)]
    steps += ((f"escalate[{at}].after_secs", step.after_secs) for at, step in enumerate(body.escalate))
    late = [field for field, secs in steps if secs > end - spare]
    errors += ({"field": field, "detail": f"must lie {spare} s before the deadline or earlier"} for field in late)
    return errors


def _people_errors(project_id: Any, body: RuleBody) -> list[dict[str, str]]:
    able = permissions.approvers(project_id)
    errors = []
    places: list[tuple[str, RuleApprovers | RuleEscalation]] = [("approvers", body.approvers)]
    places += ((f"escalate[{at}]", step) for at, step in enumerate(body.escalate))
    for place, named in places:
        users = set(able.filter(username__in=named.users).values_list("username", flat=True))
        known = Group.objects.filter(name__in=named.groups, projects=project_id, user__in=able)
        groups = set(known.values_list("name", flat=True))
        for field, names, found in (("users", named.users, users), ("groups", named.groups, groups)):
            errors += [
                {"field": f"{place}.{field}[{at}]", "detail": NOBODY}
                for at, name in enumerate(names)
                if name not in found
            ]
    for at, step in enumerate(body.escalate):
        if not step.users and not step.groups:
            errors.append({"field": f"escalate[{at}]", "detail": "must name a user or a group"})
    approvers = body.approvers
    if not errors and (approvers.users or approvers.groups):
        people = able.filter(username__in=approvers.users) | able.filter(groups__name__in=approvers.groups)
        if people.distinct().count() < approvers.quorum:
            errors.append({"field": "approvers.quorum", "detail": "is larger than the number of the named people"})
    return errors


def lock(project_id: Any) -> None:
    """Lock the project's rules until COMMIT: two changes come one after the other."""
    Project.objects.select_for_update(no_key=True).get(pk=project_id)


def refuse_taken(others: QuerySet[Any], name: str) -> None:
    """Refuse the name of another rule, or another reviewer, with conflict."""
    if others.filter(name=name).exists():
        raise problems.conflict(f"Another {others.model._meta.verbose_name} of this project has this name.")


def fill(rule: Rule, body: RuleBody) -> None:
    """Fill the columns of a rule from a body."""
    said = msgspec.to_builtins(body)
    for name in schemas.FIELDS:
        setattr(rule, name, said[name])
    rule.message = body.message or ""


def _recorded(
    rule: Rule, actor: Actor, change: str, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> Rule:
    """Tell of a change of the rules: the feed, the audit chain, and every connected child."""
    project = rule.project_id
    # In the transaction of the change: an ask reads either the former version and the former rules, or the new ones.
    former = Policy.objects.filter(project_id=project).values_list("version", flat=True).first() or 0
    version = max(former + 1, time.time_ns() // 1000)
    Policy.objects.update_or_create(project_id=project, defaults={"version": version})
    told = {"version": version, "rule": rule.name, "change": change}
    unit_of_work.event(project, "policy_changed", told)
    detail = {"name": rule.name, "policy_version": version, "before": before, "after": after}
    unit_of_work.audit(project, actor, f"rule.{change}", f"rule:{rule.id}", detail)
    unit_of_work.wake(audit_events.policy(project))
    return rule
