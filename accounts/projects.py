"""The projects that a person sees."""

from __future__ import annotations

from django.db.models import QuerySet

from accounts.models import Project, User

DEFAULT = "default"


def visible_to(user: User) -> QuerySet[Project]:
    """Return the projects that the user's groups see. A superuser sees all."""
    if user.is_superuser:
        return Project.objects.all()
    return Project.objects.filter(groups__in=user.groups.all()).distinct()


def default() -> Project:
    """Return the first project. The migration creates it."""
    return Project.objects.get(slug=DEFAULT)
