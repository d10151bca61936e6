"""The common bases of our admin pages: plain titles, offered filters only, read-only rows, bounded counts."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import DataError
from django.db.models import ForeignKey, Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import cached_property
from django.utils.text import capfirst

from core.adminsite.display import NOTHING
from core.display.text import visible

MOST_COUNTED = 10_000
#: The lookups that the stock filters use on their field.
ASKED_BY_FILTERS = ("exact", "isnull", "isempty", "id__exact")
#: The longest filter, search or key of a page.
LONGEST_ASKED = 1000


class BoundedPaginator(Paginator):
    """Counts up to a bound that staff never page beyond. A list of millions of rows opens fast."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows, at most the bound."""
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_COUNTED].count())


class Named(admin.ModelAdmin):
    """Titles a list by its content, not *select something to change*. Only the offered filters work."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the stock list under its own title, without filter values that a column cannot be compared with."""
        if odd := [name for name in request.GET if not _is_plain(name, request.GET.getlist(name))]:
            return self._without(request, odd)
        title = capfirst(self.opts.verbose_name_plural)
        try:
            return super().changelist_view(request, {"title": title, **(extra_context or {})})
        except (DataError, OverflowError):
            return self._without(request, list(request.GET))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Allow only the lookups of the list's own filters. Others would let a reader guess hidden values."""
        for each in self.get_list_filter(request):
            if isinstance(each, type) and issubclass(each, admin.SimpleListFilter):
                if lookup == each.parameter_name:
                    return True
                continue
            field = each[0] if isinstance(each, list | tuple) else each
            if lookup in (field, *(f"{field}__{asked}" for asked in ASKED_BY_FILTERS)):
                return True
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the row or None, also for a key that the database cannot look up."""
        return super().get_object(request, object_id, from_field) if _is_plain(object_id, []) else None

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the stock history. Check the permission before the row is looked up."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)

    def _without(self, request: HttpRequest, odd: list[str]) -> HttpResponseRedirect:
        kept = request.GET.copy()
        for name in odd:
            del kept[name]
        return HttpResponseRedirect(f"{request.path}?{kept.urlencode()}" if kept else request.path)


class LinksThatOpen(admin.ModelAdmin):
    """Shows a foreign key as plain text when the reader may not open its page. The stock page always links."""

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the stock fieldsets, with plain text in place of each link that the reader may not open."""
        closed = {
            field.name
            for field in self.opts.fields
            if isinstance(field, ForeignKey) and not opens(request, field.related_model)
        }
        return [
            (title, {**options, "fields": [_shown(field, closed) for field in options["fields"]]})
            for title, options in super().get_fieldsets(request, obj)
        ]


def _shown(field: Any, closed: set[str]) -> Any:
    if isinstance(field, list | tuple):
        return [_shown(each, closed) for each in field]
    if field not in closed:
        return field

    @admin.display(description=field)
    def named(row: Model) -> str:
        value = getattr(row, field)
        return NOTHING if value is None else visible(str(value))

    return named


class ReadOnly(LinksThatOpen, Named):
    """Allows no add, change or delete by hand. Operations change these rows, each by its own button."""

    actions: Any = None

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse always."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse always."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse always."""
        return False

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Refuse a POST to the stock page. Where rows can be added, it could save one as new, past the operation."""
        if request.method == "POST":
            raise PermissionDenied
        return super().changeform_view(request, *args, **kwargs)


def _is_plain(name: str, values: list[str]) -> bool:
    # PostgreSQL cannot compare with a NUL.
    return all("\0" not in text and len(text) <= LONGEST_ASKED for text in (name, *values))


def say_nothing_was_done(request: HttpRequest) -> None:
    """Warn a reader that came by GET to an address for POST only. An expired login leads here."""
    messages.warning(request, "Nothing was done: you were signed out. Press the button again.")


def may(request: HttpRequest, action: str, model: type[Model]) -> bool:
    """Return True when the reader holds the stock permission `action` (view, add, change) on a model."""
    meta = model._meta
    return bool(request.user.has_perm(f"{meta.app_label}.{action}_{meta.model_name}"))


def opens(request: HttpRequest, model: Any) -> bool:
    """Return True when the reader may open this admin's pages of a model."""
    page = admin.site._registry.get(model)
    return page is not None and page.has_view_permission(request)
