"""Quarantine in the admin: the waiting messages and their reasons, a safe view of each, requeue and discard."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from accounts import display_names, projects
from accounts.actors import Actor
from accounts.adminsite.project_scoped import ProjectFilter, ProjectScopedAdmin
from core.adminsite.display import age, badge, clipped, one_line
from core.adminsite.model_admins import ReadOnly, say_nothing_was_done
from core.display.text import visible
from core.web.problems import Problem, as_problem
from mailbox import quarantine
from mailbox.adminsite import inspection
from mailbox.adminsite.bulk_settle import ManyAtOnce
from mailbox.models import Quarantined
from mailbox.states import QuarantineState

INSPECT, REQUEUE = "mailbox.inspect_quarantine", "mailbox.requeue"
#: A larger message cannot be edited in a browser, only by REST.
EDITABLE_BYTES = 512 * 1024
TONES = {QuarantineState.WAITING: "bad", QuarantineState.REQUEUED: "good", QuarantineState.DISCARDED: ""}


@admin.register(Quarantined)
class QuarantineAdmin(ManyAtOnce, ProjectScopedAdmin, ReadOnly):
    """Messages that could not be read or handled. Viewing needs one permission, settling another."""

    list_display = ("time_shown", "reason_shown", "shown_state", "source", "to", "name", "project")
    list_display_links = ("time_shown", "reason_shown")
    list_filter = (ProjectFilter, "state", "source")
    search_fields = ("=message_id", "address__startswith")
    search_help_text = "A message's id, or the beginning of an address."
    list_select_related = ("project",)
    ordering = ("-created_at", "-pk")
    change_list_template = "admin/mailbox/quarantined/list.html"

    class Media:
        css: ClassVar = {"all": ["mailbox/mailbox.css"]}

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """True if the user may view quarantine."""
        return _may(request, INSPECT)

    def has_settle_permission(self, request: HttpRequest) -> bool:
        """True if the user may requeue and discard."""
        return _may(request, REQUEUE)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Quarantined]:
        """Return the rows of the user's own projects. Rows without a project are for superusers."""
        rows: QuerySet[Quarantined] = super().get_queryset(request).defer("raw")
        return rows

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Leave out the project if the user sees only one: the list is wide."""
        is_one = projects.visible_to(_user(request)).count() == 1
        return tuple(name for name in self.list_display if name != "project" or not is_one)

    def get_urls(self) -> list[URLPattern]:
        """Return the standard list, and our own pages for each row."""
        view = self.admin_site.admin_view
        own = [
            path("<any_uuid:row_id>/change/", view(self.page), name="mailbox_quarantined_change"),
            path("<any_uuid:row_id>/raw/", view(self.raw), name="mailbox_quarantined_raw"),
            path("<any_uuid:row_id>/requeue/", view(self.requeue), name="mailbox_quarantined_requeue"),
            path("<any_uuid:row_id>/discard/", view(self.discard), name="mailbox_quarantined_discard"),
        ]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the number of waiting messages by source."""
        waiting = self.get_queryset(request).filter(state=QuarantineState.WAITING)
        counted = waiting.order_by().values("source").annotate(count=Count("pk")).order_by("-count")
        more = {"waiting": waiting.count(), "sources": counted, "title": "Quarantine"}
        return super().changelist_view(request, {**(extra_context or {}), **more})

    def page(self, request: HttpRequest, row_id: UUID) -> HttpResponse:
        """Show one row: the reason, the views of its bytes, and the possible actions."""
        return self._page(request, self._row(request, row_id))

    def raw(self, request: HttpRequest, row_id: UUID) -> HttpResponse:
        """Return the bytes as a file that no browser opens."""
        row = self._row(request, row_id)
        name = f'attachment; filename="{row.pk}.bin"'
        return HttpResponse(
            bytes(row.raw), content_type="application/octet-stream", headers={"Content-Disposition": name}
        )

    def requeue(self, request: HttpRequest, row_id: UUID) -> HttpResponse:
        """POST: validate, as stored or as edited, and deliver to its mailbox."""
        row = self._settling(request, row_id)
        if request.method != "POST":
            return self._back(request, row)
        edited = request.POST.get("edited")
        raw = None if edited is None else edited.encode(errors="surrogatepass")
        address = request.POST.get("address", "").strip() or None
        try:
            quarantine.requeue(row.pk, Actor.of_user(_user(request)), raw, address=address)
        except Exception as error:
            return self._refused(request, row, error, edited=edited, address=address)
        self._report(request, row, "It is in its mailbox.")
        return HttpResponseRedirect(reverse("admin:mailbox_quarantined_change", args=[row.pk]))

    def discard(self, request: HttpRequest, row_id: UUID) -> HttpResponse:
        """POST: discard it for good, with a note."""
        row = self._settling(request, row_id)
        if request.method != "POST":
            return self._back(request, row)
        try:
            quarantine.discard(row.pk, Actor.of_user(_user(request)), request.POST.get("note", "").replace("\0", ""))
        except Problem as refusal:
            return self._refused(request, row, refusal)
        self._report(request, row, "Discarded. Its bytes stay here, for the record.")
        return HttpResponseRedirect(reverse("admin:mailbox_quarantined_change", args=[row.pk]))

    def _back(self, request: HttpRequest, row: Quarantined) -> HttpResponse:
        say_nothing_was_done(request)
        return HttpResponseRedirect(reverse("admin:mailbox_quarantined_change", args=[row.pk]))

    def _row(self, request: HttpRequest, row_id: UUID) -> Quarantined:
        if not _may(request, INSPECT):
            raise PermissionDenied
        row = self.get_queryset(request).filter(pk=row_id).select_related("project").first()
        if row is None:
            raise Http404
        return row

    def _settling(self, request: HttpRequest, row_id: UUID) -> Quarantined:
        row = self._row(request, row_id)
        if not _may(request, REQUEUE):
            raise PermissionDenied
        return row

    def _report(self, request: HttpRequest, before: Quarantined, done: str) -> None:
        """Report the result. If the row was settled before, warn that nothing has changed."""
        if before.state == QuarantineState.WAITING:
            self.message_user(request, done)
        else:
            settler = visible(display_names.named(before.settled_by))
            warning = f"It was {before.state} before, by {settler}. Nothing was changed now."
            self.message_user(request, warning, level=messages.WARNING)

    def _refused(self, request: HttpRequest, row: Quarantined, error: Exception, **shown: Any) -> HttpResponse:
        """Show the page again with the errors and the typed text. An unexpected error is raised again."""
        problem = as_problem(error)
        if problem is None:
            raise error
        page = self._page(request, row, problem=problem, errors=problem.extra.get("errors", []), **shown)
        page.status_code = problem.status
        return page

    def _page(self, request: HttpRequest, row: Quarantined, **shown: Any) -> TemplateResponse:
        raw = bytes(row.raw)
        text = raw.decode(errors="replace")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Quarantined message",
            "is_popup": IS_POPUP_VAR in request.GET,
            "row": row,
            "badge": badge(row.state, TONES[QuarantineState(row.state)]),
            "age": age(row.created_at),
            "settled_by": display_names.named(row.settled_by),
            "look": inspection.look(raw),
            "may_settle": _may(request, REQUEUE) and row.state == QuarantineState.WAITING,
            "copy": inspection.editable(text) if row.size <= EDITABLE_BYTES else None,
            "exact": text.encode() == raw,
            **{name: value for name, value in shown.items() if value is not None},
        }
        return TemplateResponse(request, "admin/mailbox/quarantined/page.html", context)

    @admin.display(description="since", ordering="created_at")
    def time_shown(self, row: Quarantined) -> Any:
        """The time since it came."""
        return age(row.created_at)

    @admin.display(description="for", ordering="address")
    def to(self, row: Quarantined) -> SafeString:
        """The address that it was for, if it named one."""
        return clipped(row.address)

    @admin.display(description="message id", ordering="message_id")
    def name(self, row: Quarantined) -> SafeString:
        """Its id, if it named one."""
        return clipped(row.message_id)

    @admin.display(description="reason")
    def reason_shown(self, row: Quarantined) -> str:
        """The reason why it could not be read."""
        return one_line(row.reason, 80)

    @admin.display(description="state", ordering="state")
    def shown_state(self, row: Quarantined) -> SafeString:
        """The state."""
        return badge(row.state, TONES[QuarantineState(row.state)])


def _may(request: HttpRequest, permission: str) -> bool:
    return bool(_user(request).has_perm(permission))


def _user(request: HttpRequest) -> Any:
    return request.user
