"""Admin pages that show only the rows of the reader's projects, and pages for superusers alone."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest

from accounts import projects
from core.adminsite.model_admins import BoundedPaginator, Named


class ProjectFilter(admin.SimpleListFilter):
    """Filters by project. It offers only the projects that the reader may see."""

    title = "project"
    parameter_name = "project"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return each slug as value and label."""
        return [(slug, slug) for slug in projects.visible_to(_user(request)).values_list("slug", flat=True)]

    def has_output(self) -> bool:
        """Hide the filter when there is only one project."""
        return len(self.lookup_choices) > 1

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return only the rows of the chosen project."""
        return queryset.filter(project__slug=self.value()) if self.value() else queryset


class ProjectScopedAdmin(Named):
    """Hides rows of other projects: in lists, pages, searches, actions and histories.

    The stock admin finds every object through `get_queryset`, so one check there covers all of them.
    """

    project_field: ClassVar[str] = "project"
    show_full_result_count = False
    paginator = BoundedPaginator
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return only the rows of the reader's projects."""
        rows = super().get_queryset(request)
        user = _user(request)
        if user.is_superuser:
            return rows
        return rows.filter(**{f"{self.project_field}__in": projects.ids_visible_to(user)})

    def find(self, request: HttpRequest, object_id: Any) -> Any:
        """Return one row of the reader's projects. Raises 404."""
        found = self.get_object(request, str(object_id))
        if found is None:
            raise Http404
        return found


class SuperusersOnly(Named):
    """Limits people and groups to superusers: an editor of groups could give themselves any project."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Allow superusers."""
        return bool(_user(request).is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow superusers."""
        return bool(_user(request).is_superuser)

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission


def _user(request: HttpRequest) -> Any:
    return request.user
