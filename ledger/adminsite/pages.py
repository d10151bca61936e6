"""What happened, for staff to read: the feed, the audit chain, what the outside is owed, and the beat's jobs."""

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
from accounts.adminsite.admin_base import (
    NOTHING,
    ProjectFilter,
    ProjectWall,
    ReadOnly,
    age,
    badge,
    clipped,
    line,
    until,
)
from core.display.text import visible, visible_json
from ledger import health, sweep_batch
from ledger.models import AuditEntry, Event, OutboxEntry, SkippedRow, Sweep

#: How many of the rows that a sweep left are listed.
SHOWN = 100

BEGINNING = 400


def _block(text: str) -> SafeString:
    return format_html('<pre class="wr-text wr-text-whole">{}</pre>', text)


@admin.register(Event)
class EventAdmin(ProjectWall, ReadOnly):
    """The feed, newest first."""

    list_display = ("cursor", "project", "when", "who", "what", "of_session", "told")
    list_display_links = ("cursor", "what")
    list_filter = (ProjectFilter, "source")
    search_fields = ("=session", "type__startswith")
    search_help_text = "A session's id, or the beginning of a type."
    list_select_related = ("project",)
    ordering = ("-id",)
    fields = ("project", "cursor", "at", "who", "what", "session", "attempt", "seq", "whole")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        """With the beginning of each payload: a page of a hundred whole ones could be a hundred megabytes."""
        beginning = Substr(Cast("payload", TextField()), 1, BEGINNING)
        rows: QuerySet[Event] = super().get_queryset(request)
        return rows.defer("payload").annotate(beginning=beginning)

    def get_search_results(self, request: HttpRequest, rows: QuerySet[Event], term: str) -> Any:
        """Only what an index can find: a scan of millions of payloads is not a search."""
        term = term.strip()
        if not term:
            return rows, False
        if health.is_uuid(term):
            return rows.filter(session=term), False
        return rows.filter(type__startswith=term), False

    @admin.display(description="at")
    def when(self, event: Event) -> Any:
        """How long ago."""
        return age(event.at)

    @admin.display(description="source")
    def who(self, event: Event) -> SafeString:
        """Whose word it is."""
        return badge(event.source, "" if event.source == "wardroom" else "busy")

    @admin.display(description="type")
    def what(self, event: Event) -> str:
        """The type, which a child may have made up."""
        return line(event.type)

    @admin.display(description="session")
    def of_session(self, event: Event) -> SafeString | str:
        """The beginning of the session's id, if any; all of it is the tooltip."""
        if event.session is None:
            return NOTHING
        return format_html('<span class="wr-id" title="{}">{}</span>', event.session, str(event.session)[:8])

    @admin.display(description="payload")
    def told(self, event: Any) -> SafeString:
        """The beginning of the payload."""
        return format_html('<span class="wr-mono">{}</span>', line(event.beginning, 80))

    @admin.display(description="payload")
    def whole(self, event: Event) -> SafeString:
        """All of the payload."""
        return _block(visible_json(event.payload))


@admin.register(AuditEntry)
class AuditAdmin(ProjectWall, ReadOnly):
    """The audit chain, newest first. `manage.py verify_audit` checks it."""

    list_display = ("number", "project", "when", "by", "action", "about")
    list_filter = (ProjectFilter, "action")
    search_fields = ("actor", "subject", "action")
    list_select_related = ("project",)
    ordering = ("-id",)
    fields = ("project", "number", "at", "by", "action", "about", "told", "previous_hash", "hash")
    readonly_fields = fields

    @admin.display(description="at")
    def when(self, entry: AuditEntry) -> Any:
        """How long ago."""
        return age(datetime.fromisoformat(entry.at))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With the names of all that a page speaks of, looked up together."""
        page = super().get_changelist_instance(request)
        known = display_names.names(word for entry in page.result_list for word in (entry.actor, entry.subject))
        for entry in page.result_list:
            entry.names = known
        return page

    def get_search_results(self, request: HttpRequest, rows: QuerySet[AuditEntry], term: str) -> Any:
        """Also by the name of a person, which is shown and not stored."""
        found, twice = super().get_search_results(request, rows, term)
        meant = display_names.words(term.strip())
        return (found | rows.filter(Q(actor__in=meant) | Q(subject__in=meant)) if meant else found), twice

    @admin.display(description="actor", ordering="actor")
    def by(self, entry: AuditEntry) -> SafeString:
        """Who did it."""
        return clipped(display_names.named(entry.actor, getattr(entry, "names", None)))

    @admin.display(description="subject", ordering="subject")
    def about(self, entry: AuditEntry) -> SafeString:
        """To what."""
        return clipped(display_names.named(entry.subject, getattr(entry, "names", None)))

    @admin.display(description="detail")
    def told(self, entry: AuditEntry) -> SafeString:
        """The canonical JSON that was hashed, as it stands."""
        return _block(visible(entry.detail, lines=True))


@admin.register(OutboxEntry)
class OutboxAdmin(ProjectWall, ReadOnly):
    """What the outside was told, and is still owed."""

    list_display = ("id", "project", "kind", "of", "state", "tries", "queued", "due", "sent")
    list_filter = (ProjectFilter, ("sent_at", admin.EmptyFieldListFilter))
    search_fields = ("key",)
    list_select_related = ("project",)
    ordering = ("-id",)
    fields = ("project", "kind", "of", "state", "tries", "created_at", "due_at", "sent_at", "trouble", "told")
    readonly_fields = fields

    @admin.display(description="key")
    def of(self, entry: OutboxEntry) -> SafeString:
        """What it is about."""
        return clipped(entry.key)

    @admin.display(description="queued", ordering="created_at")
    def queued(self, entry: OutboxEntry) -> Any:
        """How long ago."""
        return age(entry.created_at)

    @admin.display(description="next try", ordering="due_at")
    def due(self, entry: OutboxEntry) -> Any:
        """In how long, while it is owed."""
        return NOTHING if entry.sent_at else until(entry.due_at)

    @admin.display(description="sent", ordering="sent_at")
    def sent(self, entry: OutboxEntry) -> Any:
        """How long ago, if it is."""
        return age(entry.sent_at)

    @admin.display(description="state")
    def state(self, entry: OutboxEntry) -> SafeString:
        """Sent, waiting, or failing."""
        if entry.sent_at is not None:
            return badge("sent", "good")
        return badge("failing", "bad") if entry.last_error else badge("waiting", "wait")

    @admin.display(description="last error")
    def trouble(self, entry: OutboxEntry) -> SafeString:
        """What the last try met."""
        return _block(visible(entry.last_error, lines=True))

    @admin.display(description="payload")
    def told(self, entry: OutboxEntry) -> SafeString:
        """All of it."""
        return _block(visible_json(entry.payload))


@admin.register(Sweep)
class SweepAdmin(ReadOnly):
    """The beat's jobs: when each last ran. They belong to no project, so every member of the staff sees them."""

    list_display = ("name", "state", "last_started", "last_finished", "every", "did")
    ordering = ("name",)
    fields = ("name", "state", "every", "last_started", "last_finished", "did", "trouble")
    readonly_fields = (*fields, "left")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The rows that it left are of every project, so only superusers see which they are."""
        return (*self.fields, "left") if request.user.is_superuser else self.fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sweep]:
        """With how long each has been silent."""
        return health.timed(super().get_queryset(request))

    @admin.display(description="state")
    def state(self, sweep: Sweep) -> SafeString:
        """Whether it is late or failing, or left some rows."""
        return badge(*health.of_sweep(sweep, sweep_batch.counts()))

    @admin.display(description="every")
    def every(self, sweep: Sweep) -> str:
        """How often it should run."""
        secs = health.interval(sweep.name)
        return f"{secs:g} s" if secs else NOTHING

    @admin.display(description="last started", ordering="started_at")
    def last_started(self, sweep: Sweep) -> Any:
        """How long ago."""
        return age(sweep.began)

    @admin.display(description="last finished", ordering="finished_at")
    def last_finished(self, sweep: Sweep) -> Any:
        """How long ago."""
        return age(sweep.ended)

    @admin.display(description="error")
    def trouble(self, sweep: Sweep) -> SafeString:
        """What stopped it last time."""
        return _block(visible(sweep.error, lines=True))

    @admin.display(description="rows left")
    def left(self, sweep: Sweep) -> SafeString:
        """Each row that it could not judge or holds back, and why."""
        rows = SkippedRow.objects.filter(sweep=sweep.name, times__gt=0)[:SHOWN]
        lines = (f"{row.work}: {row.row}: {row.get_why_display()} {row.error}".rstrip() for row in rows)
        return _block(visible("\n".join(lines), lines=True))
