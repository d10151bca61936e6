"""The common base of our admin pages: project scope, read-only rows, bounded counts, plain words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import DataError
from django.db.models import ForeignKey, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timezone import localtime

from accounts import projects
from core.display.text import shortened, visible

MOST_COUNTED = 10_000
#: The lookups that the stock filters use on their field.
ASKED_BY_FILTERS = ("exact", "isnull", "isempty", "id__exact")
#: The longest filter, search or key of a page.
LONGEST_ASKED = 1000
NOTHING = "\u2013"


class BoundedPaginator(Paginator):
    """Counts up to a bound that staff never page beyond. A list of millions of rows opens fast."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows, at most the bound."""
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_COUNTED].count())


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
        return rows.filter(**{f"{self.project_field}__in": projects.visible_to(user)})


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
    return _name_alone(field) if field in closed else field


def _name_alone(field: str) -> Callable[[Model], str]:
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


class SuperusersOnly(Named):
    """Limits people and groups to superusers: an editor of groups could give themselves any project."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Allow superusers."""
        return bool(_user(request).is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow superusers."""
        return bool(_user(request).is_superuser)

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission


def _is_plain(name: str, values: list[str]) -> bool:
    # PostgreSQL cannot compare with a NUL.
    return all("\0" not in text and len(text) <= LONGEST_ASKED for text in (name, *values))


def say_nothing_was_done(request: HttpRequest) -> None:
    """Warn a reader that came by GET to an address for POST only. An expired login leads here."""
    messages.warning(request, "Nothing was done: you were signed out. Press the button again.")


def may(request: HttpRequest, action: str, model: type[Model]) -> bool:
    """Return True when the reader holds the stock permission `action` (view, add, change) on a model."""
    meta = model._meta
    return bool(_user(request).has_perm(f"{meta.app_label}.{action}_{meta.model_name}"))


def opens(request: HttpRequest, model: Any) -> bool:
    """Return True when the reader may open this admin's pages of a model."""
    page = admin.site._registry.get(model)
    return page is not None and page.has_view_permission(request)


def badge(word: str, tone: str = "") -> SafeString:
    """Return a word in a coloured box. Tones: good, busy, wait, bad. No tone is neutral."""
    return format_html('<span class="wr-badge{}">{}</span>', f" wr-badge-{tone}" if tone else "", word)


def age(moment: Any) -> SafeString | str:
    """Return a time as *so long ago*, updated by the page. The exact time is its tooltip."""
    return _clock(moment, "data-age")


def until(moment: Any) -> SafeString | str:
    """Return a future time as *in so long*, counted down by the page."""
    return _clock(moment, "data-until")


def _clock(moment: Any, kind: str) -> SafeString | str:
    if moment is None:
        return NOTHING
    shown = localtime(moment).strftime("%Y-%m-%d %H:%M:%S")
    markup = '<time datetime="{}" title="{} UTC" {}>{}</time>'
    return format_html(markup, moment.isoformat(), shown, kind, shown)


def line(text: Any, limit: int = 80) -> str:
    """Return one visible line of untrusted text, cut for a list."""
    return shortened(str(text), limit) if text not in (None, "") else NOTHING


def clipped(text: str) -> SafeString:
    """Return one visible line that a list cuts at its column's end. The whole text is the tooltip.

    The row's page shows the whole text, too.
    """
    shown = visible(text) or NOTHING
    return format_html('<span class="wr-mono wr-clip" title="{}">{}</span>', shown, shown)


def _user(request: HttpRequest) -> Any:
    return request.user
