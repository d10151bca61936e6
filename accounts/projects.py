"""Who sees which project."""

from __future__ import annotations

from django.db.models import QuerySet

from accounts.models import Project, User

DEFAULT = "default"


def visible_to(user: User) -> QuerySet[Project]:
    """Staff see the projects that their groups name; superusers all."""
    if user.is_superuser:
        return Project.objects.all()
    return Project.objects.filter(groups__in=user.groups.all()).distinct()


def default() -> Project:
    """The first project; the migration makes it."""
    return Project.objects.get(slug=DEFAULT)
