"""The admin's name, and its pages for people, groups, projects and API keys."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from accounts import projects
from accounts.adminsite import keys
from accounts.adminsite.permissions import Recorded, RecordedPassword
from accounts.adminsite.project_scoped import SuperusersOnly
from accounts.models import Project, User
from core.adminsite.display import NOTHING
from core.adminsite.model_admins import Named

__all__ = ["keys"]  # the import registers its page

admin.site.site_header = "Wardroom"
admin.site.site_title = "Wardroom"
admin.site.index_title = "Overview"
admin.site.site_url = None
admin.site.unregister(Group)


class PicksPermissions(SuperusersOnly):
    """Offers the permissions that open something here: those of the pages of this admin, and our own."""

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        """Leave out the stock permissions of tables without a page, unless somebody holds one."""
        field: Any = super().formfield_for_manytomany(db_field, request, **kwargs)
        if field is not None and db_field.related_model is Permission:
            shown = ContentType.objects.get_for_models(*self.admin_site._registry).values()
            stock = Q(codename__regex=r"^(add|change|delete|view)_")
            held = Q(group__isnull=False) | Q(user__isnull=False)
            offered = field.queryset.filter(~stock | held | Q(content_type__in=list(shown)))
            field.queryset = field.queryset.filter(pk__in=offered.values("pk"))
        return field


@admin.register(User)
class PersonAdmin(PicksPermissions, RecordedPassword, UserAdmin):
    """People on the staff."""


@admin.register(Group)
class TeamAdmin(PicksPermissions, Recorded, GroupAdmin):
    """Groups of people. A project names the groups that see it."""


@admin.register(Project)
class ProjectAdmin(Named, Recorded):
    """Projects, and the groups that see them. A project is never deleted: its records belong to it."""

    list_display = ("slug", "name", "seen_by", "created_at")
    search_fields = ("slug", "name")
    fields = ("slug", "name", "groups", "max_processes", "created_at")
    readonly_fields = ("created_at",)
    filter_horizontal = ("groups",)
    actions = None

    @admin.display(description="seen by (beside superusers)")
    def seen_by(self, project: Project) -> str:
        """Return the names of the groups."""
        return ", ".join(group.name for group in project.groups.all()) or NOTHING

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        """Return the projects that the reader sees."""
        user: Any = request.user
        visible = projects.visible_to(user).values("pk")
        return super().get_queryset(request).filter(pk__in=visible).prefetch_related("groups")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Leave out the time of a project that does not exist yet: the database sets it."""
        return self.fields if obj else self.fields[:-1]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Fix the slug of an existing project, and let only superusers change its groups.

        Addresses in other systems contain the slug. The groups decide access.
        """
        fixed = ("created_at", "slug") if obj else ("created_at",)
        user: Any = request.user
        return fixed if user.is_superuser else (*fixed, "groups")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse always."""
        return False
