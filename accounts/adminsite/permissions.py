"""Admin pages that change permissions. Each change writes its audit row in its own transaction."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from accounts import audit_hook, permission_audit
from accounts.actors import Actor
from accounts.models import User


class Recorded(admin.ModelAdmin):
    """Compares the permissions before and after the stock page does its work."""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Add or change within one transaction."""
        with audit_hook.transaction():
            return super().changeform_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the row, and keep its former permissions for `save_related`, which completes it."""
        form.rights_before = permission_audit.of(obj) if change else permission_audit.NOTHING
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save groups and permissions, then record the change."""
        super().save_related(request, form, formsets, change)
        permission_audit.changed(actor(request), form.instance, form.rights_before, permission_audit.of(form.instance))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete one object."""
        with audit_hook.transaction():
            self._gone(request, obj)
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete many objects, by the action of the list."""
        with audit_hook.transaction():
            for obj in queryset:
                self._gone(request, obj)
            super().delete_queryset(request, queryset)

    def _gone(self, request: HttpRequest, obj: Any) -> None:
        if isinstance(obj, User):
            obj.keep_name()
        permission_audit.changed(actor(request), obj, permission_audit.of(obj), permission_audit.NOTHING)


class RecordedPassword(Recorded):
    """Records password changes: setting another person's password allows acting as that person."""

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Show the stock page, and write an audit row when the password changed."""
        with audit_hook.transaction():
            is_key = id.isascii() and id.isdigit() and len(id) < 19
            before = User.objects.filter(pk=id).values_list("password", flat=True).first() if is_key else None
            answer: HttpResponse = super().user_change_password(request, id, form_url)  # type: ignore[misc]
            user = User.objects.filter(pk=id).first() if before is not None else None
            if user is not None and user.password != before:
                permission_audit.password_set(actor(request), user)
            return answer


def actor(request: HttpRequest) -> Actor:
    """Return the signed-in reader as an actor."""
    user: Any = request.user
    return Actor.of_user(user)
