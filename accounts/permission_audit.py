"""The permissions of people, groups and projects, and the audit row of a change to them.

The row is written to the chain of every affected project: those that the person or group saw before or sees after. A
change that affects none is written to the first project's chain, so that every change has a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group, Permission
from django.db.models import QuerySet

from accounts import audit_hook, projects
from accounts.actors import Actor
from accounts.models import Project, User


@dataclass(frozen=True, slots=True)
class Rights:
    """The permissions of a person, group or project: name to flag or list of words; and the projects affected."""

    held: dict[str, bool | list[str]]
    projects: frozenset[UUID]


NOTHING = Rights({}, frozenset())


def of(thing: User | Group | Project) -> Rights:
    """Return the permissions as stored now. NOTHING when the row does not exist."""
    match thing:
        case User():
            user = User.objects.filter(pk=thing.pk).first()
            if user is None:
                return NOTHING
            held: dict[str, bool | list[str]] = {
                "active": user.is_active,
                "staff": user.is_staff,
                "superuser": user.is_superuser,
                "groups": list(user.groups.order_by("name").values_list("name", flat=True)),
                "permissions": _names(user.user_permissions.all()),
            }
            return Rights(held, frozenset(projects.visible_to(user).values_list("pk", flat=True)))
        case Group():
            named = frozenset(Project.objects.filter(groups=thing.pk).values_list("pk", flat=True))
            return Rights({"permissions": _names(Permission.objects.filter(group=thing.pk))}, named)
        case Project():
            seen_by = Group.objects.filter(projects=thing.pk).order_by("name").values_list("name", flat=True)
            return Rights({"groups": list(seen_by)}, frozenset({thing.pk}))


def changed(actor: Actor, thing: User | Group | Project, before: Rights, after: Rights) -> None:
    """Record the differences, if any. Call it inside `audit_hook.transaction()`."""
    if before == after:
        return
    word = type(thing).__name__.lower()
    differing: dict[str, Any] = {}
    for name in before.held | after.held:
        was, now = before.held.get(name), after.held.get(name)
        if was == now:
            continue
        if isinstance(was, list) or isinstance(now, list):
            had, has = set(was or ()), set(now or ())  # type: ignore[arg-type]
            differing[name] = {"added": sorted(has - had), "removed": sorted(had - has)}
        else:
            differing[name] = {"before": was, "after": now}
    payload = {"name": str(thing), "gone": after is NOTHING, **differing}
    write(actor, f"rights.{word}", f"{word}:{thing.pk}", payload, before.projects | after.projects)


def password_set(actor: Actor, user: User) -> None:
    """Record a password change. Call it inside `audit_hook.transaction()`."""
    write(actor, "rights.password", f"user:{user.pk}", {"name": str(user)}, of(user).projects)


def write(actor: Actor, action: str, subject: str, detail: dict[str, Any], where: Iterable[UUID]) -> None:
    """Write one row to the chain of each of these projects, or to the first project's when there is none."""
    for project_id in sorted(where) or [projects.default().pk]:
        audit_hook.audit(project_id, actor, action, subject, detail)


def _names(permissions: QuerySet[Permission]) -> list[str]:
    rows = permissions.order_by("content_type__app_label", "codename")
    return [f"{app}.{name}" for app, name in rows.values_list("content_type__app_label", "codename")]
