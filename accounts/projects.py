"""The projects that a person sees."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from accounts.models import Project, User

DEFAULT = "default"


def visible_to(user: User) -> QuerySet[Project]:
    """Return the projects that the user's groups see. A superuser sees all."""
    if user.is_superuser:
        return Project.objects.all()
    return Project.objects.filter(groups__in=user.groups.all()).distinct()


def ids_visible_to(user: User) -> list[UUID]:
    """Return the ids of these projects, to select the rows of a large table.

    PostgreSQL knows how many rows a list of values selects. From a subquery it guesses, and then reads whole projects.
    """
    return list(visible_to(user).values_list("pk", flat=True))


def default() -> Project:
    """Return the first project. The migration creates it."""
    return Project.objects.get(slug=DEFAULT)
