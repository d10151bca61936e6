"""The ledger in the admin, read-only: the feed, the audit chain, the outbox and the sweeps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast, Substr
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import display_names
from accounts.adminsite.project_scoped import ProjectFilter, ProjectScopedAdmin
from core.adminsite.display import NOTHING, age, badge, clipped, one_line, until
from core.adminsite.model_admins import ReadOnly
from core.display.redaction import event_copy, redacted
from core.display.text import visible, visible_json
from ledger import health, sweep_batch
from ledger.models import AuditEntry, Event, OutboxEntry, SkippedRow, Sweep

#: The most skipped rows of a sweep that are listed.
SHOWN = 100

BEGINNING = 400


def _block(text: str) -> SafeString:
    return format_html('<pre class="wr-text wr-text-whole">{}</pre>', text)


@admin.register(Event)
class EventAdmin(ProjectScopedAdmin, ReadOnly):
    """The feed, newest first."""

    list_display = ("cursor", "project", "time_shown", "source_shown", "type_shown", "session_shown", "content")
    list_display_links = ("cursor", "type_shown")
    list_filter = (ProjectFilter, "source")
    search_fields = ("=session", "type__startswith")
    search_help_text = "A session's id, or the beginning of a type."
    list_select_related = ("project",)
    ordering = ("-id",)
    fields = ("project", "cursor", "at", "source_shown", "type_shown", "session", "attempt", "seq", "full_payload")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        """Load only the beginning of each payload: a page of a hundred full ones could be a hundred megabytes."""
        beginning = Substr(Cast("payload", TextField()), 1, BEGINNING)
        rows: QuerySet[Event] = super().get_queryset(request)
        return rows.defer("payload").annotate(beginning=beginning)

    def get_search_results(self, request: HttpRequest, rows: QuerySet[Event], term: str) -> Any:
        """Search only where an index helps: a scan of millions of payloads would take too long."""
        term = term.strip()
        if not term:
            return rows, False
        if health.is_uuid(term):
            return rows.filter(session=term), False
        return rows.filter(type__startswith=term), False

    @admin.display(description="at")
    def time_shown(self, event: Event) -> Any:
        """The time since the event."""
        return age(event.at)

    @admin.display(description="source")
    def source_shown(self, event: Event) -> SafeString:
        """The source of the event."""
        return badge(event.source, "" if event.source == "wardroom" else "busy")

    @admin.display(description="type")
    def type_shown(self, event: Event) -> str:
        """The type, which a child may have made up."""
        return one_line(event.type)

    @admin.display(description="session")
    def session_shown(self, event: Event) -> SafeString | str:
        """The beginning of the session's id, if any. The tooltip has the full id."""
        if event.session is None:
            return NOTHING
        return format_html('<span class="wr-id" title="{}">{}</span>', event.session, str(event.session)[:8])

    @admin.display(description="payload")
    def content(self, event: Any) -> SafeString:
        """The beginning of the payload."""
        return format_html('<span class="wr-mono">{}</span>', one_line(redacted(event.beginning), 80))

    @admin.display(description="payload")
    def full_payload(self, event: Event) -> SafeString:
        """The full payload."""
        return _block(visible_json(event_copy(event.payload)))


@admin.register(AuditEntry)
class AuditAdmin(ProjectScopedAdmin, ReadOnly):
    """The audit chain, newest first. `manage.py verify_audit` checks it."""

    list_display = ("number", "project", "time_shown", "actor_shown", "action", "subject_shown")
    list_filter = (ProjectFilter, "action")
    search_fields = ("actor", "subject", "action")
    list_select_related = ("project",)
    ordering = ("-id",)
    fields = ("project", "number", "at", "actor_shown", "action", "subject_shown", "content", "previous_hash", "hash")
    readonly_fields = fields

    @admin.display(description="at")
    def time_shown(self, entry: AuditEntry) -> Any:
        """The time since the entry."""
        return age(datetime.fromisoformat(entry.at))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Look up all display names of a page at once."""
        page = super().get_changelist_instance(request)
        known = display_names.names(word for entry in page.result_list for word in (entry.actor, entry.subject))
        for entry in page.result_list:
            entry.names = known
        return page

    def get_search_results(self, request: HttpRequest, rows: QuerySet[AuditEntry], term: str) -> Any:
        """Search also by a person's name, which is shown but not stored. It finds the acts of their keys, too."""
        found, twice = super().get_search_results(request, rows, term)
        meant = display_names.words(term.strip())
        return (found | rows.filter(Q(actor__in=meant) | Q(subject__in=meant)) if meant else found), twice

    @admin.display(description="actor", ordering="actor")
    def actor_shown(self, entry: AuditEntry) -> SafeString:
        """The actor."""
        return clipped(display_names.named(entry.actor, getattr(entry, "names", None)))

    @admin.display(description="subject", ordering="subject")
    def subject_shown(self, entry: AuditEntry) -> SafeString:
        """The subject of the action."""
        return clipped(display_names.named(entry.subject, getattr(entry, "names", None)))

    @admin.display(description="detail")
    def content(self, entry: AuditEntry) -> SafeString:
        """The canonical JSON that was hashed, unchanged."""
        return _block(visible(entry.detail, lines=True))


@admin.register(OutboxEntry)
class OutboxAdmin(ProjectScopedAdmin, ReadOnly):
    """The messages to other systems, sent and still due."""

    list_display = ("id", "project", "kind", "key_shown", "state", "tries", "queued", "due", "sent")
    list_filter = (ProjectFilter, ("sent_at", admin.EmptyFieldListFilter))
    search_fields = ("key",)
    list_select_related = ("project",)
    ordering = ("-id",)
    fields = (
        "project",
        "kind",
        "key_shown",
        "state",
        "tries",
        "created_at",
        "due_at",
        "sent_at",
        "error_shown",
        "content",
    )
    readonly_fields = fields

    @admin.display(description="key")
    def key_shown(self, entry: OutboxEntry) -> SafeString:
        """The key."""
        return clipped(entry.key)

    @admin.display(description="queued", ordering="created_at")
    def queued(self, entry: OutboxEntry) -> Any:
        """The time since it was queued."""
        return age(entry.created_at)

    @admin.display(description="next try", ordering="due_at")
    def due(self, entry: OutboxEntry) -> Any:
        """The time until the next try, while it is not sent."""
        return NOTHING if entry.sent_at else until(entry.due_at)

    @admin.display(description="sent", ordering="sent_at")
    def sent(self, entry: OutboxEntry) -> Any:
        """The time since it was sent, if it was."""
        return age(entry.sent_at)

    @admin.display(description="state")
    def state(self, entry: OutboxEntry) -> SafeString:
        """Sent, waiting, or failing."""
        if entry.sent_at is not None:
            return badge("sent", "good")
        return badge("failing", "bad") if entry.last_error else badge("waiting", "wait")

    @admin.display(description="last error")
    def error_shown(self, entry: OutboxEntry) -> SafeString:
        """The error of the last try."""
        return _block(visible(redacted(entry.last_error), lines=True))

    @admin.display(description="payload")
    def content(self, entry: OutboxEntry) -> SafeString:
        """The full payload."""
        return _block(visible_json(event_copy(entry.payload)))


@admin.register(Sweep)
class SweepAdmin(ReadOnly):
    """The periodic jobs and their last runs. They belong to no project, so every member of the staff sees them."""

    list_display = ("name", "state", "last_started", "last_finished", "every", "did")
    ordering = ("name",)
    fields = ("name", "state", "every", "last_started", "last_finished", "did", "error_shown")
    readonly_fields = (*fields, "left")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Add the skipped rows for superusers only, because they belong to all projects."""
        return (*self.fields, "left") if request.user.is_superuser else self.fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sweep]:
        """Add the time for which each job has been silent."""
        return health.timed(super().get_queryset(request))

    @admin.display(description="state")
    def state(self, sweep: Sweep) -> SafeString:
        """The state: on time, late, failing, or with skipped rows."""
        return badge(*health.of_sweep(sweep, sweep_batch.counts()))

    @admin.display(description="every")
    def every(self, sweep: Sweep) -> str:
        """The interval of the schedule."""
        secs = health.interval(sweep.name)
        return f"{secs:g} s" if secs else NOTHING

    @admin.display(description="last started", ordering="started_at")
    def last_started(self, sweep: Sweep) -> Any:
        """The time since the last start."""
        return age(sweep.began)

    @admin.display(description="last finished", ordering="finished_at")
    def last_finished(self, sweep: Sweep) -> Any:
        """The time since the last end."""
        return age(sweep.ended)

    @admin.display(description="error")
    def error_shown(self, sweep: Sweep) -> SafeString:
        """The error that stopped the last run."""
        return _block(visible(redacted(sweep.error), lines=True))

    @admin.display(description="rows left")
    def left(self, sweep: Sweep) -> SafeString:
        """Each row that could not be processed or is held back, with the reason."""
        rows = SkippedRow.objects.filter(sweep=sweep.name, times__gt=0)[:SHOWN]
        lines = (f"{row.work}: {row.row}: {row.get_why_display()} {row.error}".rstrip() for row in rows)
        return _block(visible(redacted("\n".join(lines)), lines=True))
