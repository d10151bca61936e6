"""Sessions in the admin: the list, the page of one session, and the two actions of staff."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import scopes
from accounts.actors import Actor
from accounts.adminsite.project_scoped import ProjectFilter, ProjectScopedAdmin
from core.adminsite.display import NOTHING, age, badge, one_line
from core.adminsite.model_admins import ReadOnly, say_nothing_was_done
from core.web.problems import Problem
from ledger.health import is_uuid
from mailbox.envelope import NewMessage
from orchestration.adminsite import dashboard, session_page
from orchestration.adminsite.session_page import TONES
from orchestration.models import Session
from orchestration.places import turns
from orchestration.runners import registry
from orchestration.sessions import cancel, schemas
from orchestration.sessions import messages as session_messages
from orchestration.states import Status


class StateFilter(admin.SimpleListFilter):
    """Filter by state. `lost` is a display state: running without a live connection."""

    title = "state"
    parameter_name = "state"
    LOST, OPEN, CANCELLING = "lost", "open", "cancelling"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return all states."""
        return [
            (self.OPEN, "not over"),
            (self.LOST, "lost"),
            (self.CANCELLING, "told to stop"),
            *((word, word) for word in Status.values),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the sessions in the chosen state."""
        if self.value() == self.CANCELLING:
            return queryset.filter(finished_at=None, cancel_requested_at__isnull=False)
        if self.value() == self.LOST:
            return queryset.filter(status=Status.RUNNING, live=False)
        if self.value() == self.OPEN:
            return queryset.filter(finished_at=None)
        return queryset.filter(status=self.value()) if self.value() in Status.values else queryset


class RunnerFilter(admin.SimpleListFilter):
    """Filter by runner."""

    title = "runner"
    parameter_name = "runner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return all runners."""
        return [(word, word) for word in registry.known()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the sessions of the chosen runner."""
        return queryset.filter(runner=self.value()) if self.value() in registry.known() else queryset


class CancelForm(forms.Form):
    """The reason for a cancel, and whether it includes the sessions below."""

    reason = forms.CharField(max_length=500)
    cascade = forms.BooleanField(required=False)


class MessageForm(forms.Form):
    """A message to the agent. The id makes a double submit one message."""

    id = forms.UUIDField(widget=forms.HiddenInput)
    text = forms.CharField(max_length=20_000, widget=forms.Textarea(attrs={"rows": 3}))
    interrupt = forms.BooleanField(required=False)


@admin.register(Session)
class SessionAdmin(ProjectScopedAdmin, ReadOnly):
    """Read-only pages with two buttons. Each button calls one operation."""

    list_display = ("label", "state", "number", "place", "last_event", "tool", "created")
    list_filter = (ProjectFilter, StateFilter, RunnerFilter)
    search_fields = ("title", "role", "id")
    search_help_text = "A part of the title, a role, or a session's id."
    list_select_related = ("project", "parent")
    ordering = ("-created_at", "-id")
    change_list_template = "admin/orchestration/session/list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Annotate each session with `live`, and a queued one with its position."""
        return turns.with_position(schemas.with_liveness(super().get_queryset(request)))

    def get_search_results(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> Any:
        """Search: an id finds the session and its children; a word finds titles and roles."""
        term = term.strip()
        if not term:
            return rows, False
        if is_uuid(term):
            return rows.filter(Q(pk=term) | Q(root=term) | Q(parent=term)), False
        return rows.filter(Q(title__icontains=term) | Q(role__icontains=term)), False

    @admin.display(description="session", ordering="title")
    def label(self, session: Session) -> str:
        """Return the title, the role, or the beginning of the assignment."""
        return session_page.label(session)

    @admin.display(description="state", ordering="status")
    def state(self, session: Any) -> SafeString:
        """Return the state, and whether the connection is live, or the position in the queue."""
        more: Any = session_page.connection_badge(session)
        if position := turns.position_text(session):
            more = format_html('<br><span class="wr-quiet wr-small">{}</span>', position)
        return format_html("{} {}", badge(session.status, TONES[session.status]), more)

    @admin.display(description="attempt", ordering="attempt")
    def number(self, session: Session) -> int:
        """Return the current attempt."""
        return session.attempt

    @admin.display(description="place", ordering="depth")
    def place(self, session: Session) -> SafeString:
        """Return the depth, the parent and the project."""
        under = f"depth {session.depth}, under {session_page.label(session.parent, 30)}" if session.parent else "root"
        return format_html('{}<br><span class="wr-quiet wr-small">{}</span>', under, session.project.slug)

    @admin.display(description="last event", ordering="last_event_at")
    def last_event(self, session: Session) -> Any:
        """Return the age of the last event."""
        return age(session.last_event_at)

    @admin.display(description="last tool", ordering="last_tool")
    def tool(self, session: Session) -> str:
        """Return the last tool."""
        return one_line(session.last_tool, 40) if session.last_tool else NOTHING

    @admin.display(description="created", ordering="created_at")
    def created(self, session: Session) -> Any:
        """Return the age of the session."""
        return age(session.created_at)

    def get_urls(self) -> list[URLPattern]:
        """Put our own pages and buttons before the standard ones."""
        wrap, name = self.admin_site.admin_view, "orchestration_session"
        urls = [
            path("front/", wrap(dashboard.front_view), name=f"{name}_front"),
            path("<any_uuid:session_id>/body/", wrap(self.body_view), name=f"{name}_body"),
            path("<any_uuid:session_id>/cancel/", wrap(self.cancel_view), name=f"{name}_cancel"),
            path("<any_uuid:session_id>/message/", wrap(self.message_view), name=f"{name}_message"),
        ]
        return [*urls, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Return the list, or only its rows to a page that updates itself."""
        answer = super().changelist_view(request, extra_context)
        if isinstance(answer, TemplateResponse) and request.headers.get("X-Requested-With") == "live":
            answer.template_name = "admin/orchestration/session/rows.html"
        return answer

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the page of one session. It changes nothing, so it refuses POST."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        session = self._found(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            **session_page.context(request, session),
            "opts": self.opts,
            "title": session_page.label(session),
            "may_steer": _may(request, scopes.STEER),
            "may_stop": _may(request, scopes.STOP),
            "cancel_form": CancelForm(initial={"cascade": True}),
            "message_form": MessageForm(initial={"id": uuid4()}),
        }
        return TemplateResponse(request, "admin/orchestration/session/page.html", context)

    def body_view(self, request: HttpRequest, session_id: UUID) -> HttpResponse:
        """Return the part of that page that updates itself."""
        session = self._found(request, str(session_id))
        return render(request, "admin/orchestration/session/body.html", session_page.context(request, session))

    def cancel_view(self, request: HttpRequest, session_id: UUID) -> HttpResponse:
        """POST: request a cancel."""
        session = self._to_act_on(request, session_id, scopes.STOP)
        form = CancelForm(request.POST)
        if request.method == "POST" and form.is_valid():
            self._cancel(request, session, form.cleaned_data["reason"], form.cleaned_data["cascade"])
        elif request.method == "POST":
            self.message_user(request, "A cancel needs a reason: the agent is told the reason.", messages.ERROR)
        else:
            say_nothing_was_done(request)
        return self._back(session)

    def message_view(self, request: HttpRequest, session_id: UUID) -> HttpResponse:
        """POST: send a message to the session's mailbox."""
        session = self._to_act_on(request, session_id, scopes.STEER)
        form = MessageForm(request.POST)
        if request.POST.get("interrupt") and not _may(request, scopes.STOP):
            raise PermissionDenied
        if request.method == "POST" and form.is_valid():
            wanted, actor = form.cleaned_data, _actor(request)
            body = {"text": wanted["text"]}
            message = NewMessage(id=str(wanted["id"]), message_kind="task", body=body, sender_role="staff")
            try:
                sent = session_messages.send(session.project, session.pk, message, actor, interrupt=wanted["interrupt"])
            except Problem as refusal:
                self.message_user(request, refusal.detail, messages.ERROR)
            else:
                self.message_user(request, OUTCOMES[sent.outcome])
        elif request.method == "POST":
            self.message_user(request, "A message needs a text.", messages.ERROR)
        else:
            say_nothing_was_done(request)
        return self._back(session)

    def _cancel(self, request: HttpRequest, session: Session, reason: str, cascade: bool) -> None:
        try:
            after = cancel.cancel(session.project, session.pk, reason, _actor(request), cascade)
        except Problem as refusal:
            self.message_user(request, refusal.detail, messages.ERROR)
            return
        over = f"It is {after.status}." if after.is_terminal else "It was told to stop and has a few seconds."
        self.message_user(request, over)

    def _to_act_on(self, request: HttpRequest, session_id: UUID, permission: str) -> Session:
        session: Session = self._found(request, str(session_id))
        if not _may(request, permission):
            raise PermissionDenied
        return session

    def _found(self, request: HttpRequest, session_id: str) -> Any:
        """Return the session if this user may see it. Raises 404 for a foreign one."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        session = self.get_object(request, session_id)
        if session is None:
            raise Http404
        return session

    def _back(self, session: Session) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("admin:orchestration_session_change", args=[session.pk]))


OUTCOMES = {
    "delivered_live": "Sent: its connection is live. It is admitted at the agent's next safe point.",
    "queued": "Sent: it waits in the mailbox, and the agent reads it when it is connected again.",
    "started": "Sent: the session was over, and starts again with this message.",
    "pending": "Kept: nothing will read it until somebody starts the session.",
}


def _may(request: HttpRequest, permission: str) -> bool:
    user: Any = request.user
    return bool(user.has_perm(permission))


def _actor(request: HttpRequest) -> Actor:
    user: Any = request.user
    return Actor.of_user(user)
