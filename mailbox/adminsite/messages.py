"""Mailbox messages for staff to read. Quarantine has its own pages, in `mailbox.adminsite.quarantine`."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import display_for_value
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.adminsite.project_scoped import ProjectFilter, ProjectScopedAdmin
from core.adminsite.display import NOTHING, age, badge, clipped, one_line
from core.adminsite.model_admins import ReadOnly
from core.display.redaction import event_copy
from core.display.text import visible, visible_json
from mailbox.models import Message
from mailbox.states import MessageState
from mailbox.store import receipts

TONES = {
    MessageState.NEW: "wait",
    MessageState.CLAIMED: "busy",
    MessageState.ADMITTED: "good",
    MessageState.QUARANTINED: "bad",
}


class StateFilter(admin.SimpleListFilter):
    """Filter messages by state."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the states."""
        return list(MessageState.choices)

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the messages in the chosen state."""
        chosen = self.value()
        return queryset.in_state(chosen) if chosen in MessageState.values else queryset


@admin.register(Message)
class MessageAdmin(ProjectScopedAdmin, ReadOnly):
    """Messages, newest first. Only operations change their state."""

    list_display = ("name", "kind", "to", "shown_state", "received", "spent", "sender")
    list_display_links = ("name",)
    list_filter = (ProjectFilter, StateFilter, "message_kind")
    search_fields = ("=message_id", "address__name__startswith")
    search_help_text = "A message's id, a correlation id, or the beginning of an address."
    list_select_related = ("project", "address", "waiting")
    ordering = ("-pk",)
    fields = (
        "project",
        "to",
        "seq",
        "name",
        "kind",
        "sender",
        "correlation",
        "body_shown",
        "created_at",
        "received_at",
        "shown_state",
        "tries",
        "due",
        "holder",
        "admitted",
        "attempt",
    )
    readonly_fields = fields

    class Media:
        css: ClassVar = {"all": ["mailbox/mailbox.css"]}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list under a plain title."""
        return super().changelist_view(request, {**(extra_context or {}), "title": "Messages"})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        """Leave out the bodies, which no list shows. A message's page loads its own."""
        rows: QuerySet[Message] = super().get_queryset(request).defer("body_text")
        return rows

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Load the receipts of all rows at once."""
        shown = super().get_changelist_instance(request)
        receipts.attach(list(shown.result_list))
        return shown

    def get_search_results(self, request: HttpRequest, rows: QuerySet[Message], term: str) -> Any:
        """Search by a message id, a correlation id, or the beginning of an address."""
        term = term.strip().replace("\0", "")
        if not term:
            return rows, False
        named = Q(message_id=term) | Q(correlation_id=term)
        return rows.filter(named | Q(address__name__startswith=term)), False

    @admin.display(description="id", ordering="message_id")
    def name(self, message: Message) -> SafeString:
        """The id, which the sender chose."""
        return clipped(message.message_id)

    @admin.display(description="kind", ordering="message_kind")
    def kind(self, message: Message) -> SafeString:
        """The kind."""
        return badge(message.message_kind)

    @admin.display(description="address", ordering="address__name")
    def to(self, message: Message) -> SafeString:
        """The address."""
        return clipped(message.address.name)

    @admin.display(description="tries")
    def spent(self, message: Message) -> Any:
        """The number of claims."""
        return message.tries

    @admin.display(description="not before")
    def due(self, message: Message) -> str:
        """The time before which it is not delivered again."""
        return display_for_value(message.pending.due_at if message.pending else None, NOTHING)

    @admin.display(description="state")
    def shown_state(self, message: Message) -> SafeString:
        """The state."""
        return badge(message.state, TONES[MessageState(message.state)])

    @admin.display(description="from")
    def sender(self, message: Message) -> str:
        """The sender's session and role, marked *claimed* if only the sender says so."""
        known = [message.sender_session, message.sender_role]
        shown = one_line(" ".join(filter(None, known)))
        return f"{shown} (claimed)" if message.claimed_sender and shown != NOTHING else shown

    @admin.display(description="correlation id")
    def correlation(self, message: Message) -> str:
        """The id that links an ask and its answer."""
        return visible(message.correlation_id) or NOTHING

    @admin.display(description="received", ordering="received_at")
    def received(self, message: Message) -> Any:
        """The time since it was accepted."""
        return age(message.received_at)

    @admin.display(description="held by")
    def holder(self, message: Message) -> str:
        """The consumer that holds the claim, and the end of its lease."""
        if message.pending is None or message.pending.state != MessageState.CLAIMED:
            return NOTHING
        who = visible(message.pending.consumer) or "a consumer without a name"
        return f"{who}, until {display_for_value(message.pending.claim_expires_at, NOTHING)}"

    @admin.display(description="admitted")
    def admitted(self, message: Message) -> str:
        """The time at which it was acknowledged, or entered an agent's history."""
        return display_for_value(message.admitted_at, NOTHING)

    @admin.display(description="by attempt")
    def attempt(self, message: Message) -> str:
        """At a session's address, the attempt that took it into its history."""
        return display_for_value(message.admitted_attempt, NOTHING)

    @admin.display(description="body")
    def body_shown(self, message: Message) -> SafeString:
        """The full body, with invisible characters made visible, and without secrets."""
        body = event_copy(message.body)
        shown = visible(body, lines=True) if isinstance(body, str) else visible_json(body)
        return format_html(
            '<div class="wr-said"><span class="wr-said-by">written by the sender, unverified</span>'
            '<pre class="wr-text wr-text-whole">{}</pre></div>',
            shown,
        )
