"""Deliveries in the admin: the log, and the button that sends one again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.actors import Actor
from accounts.adminsite.project_scoped import ProjectFilter, ProjectScopedAdmin
from core.adminsite.display import NOTHING, age, badge, clipped, one_line, until
from core.adminsite.model_admins import ReadOnly, may, opens, say_nothing_was_done
from core.display.text import visible
from ledger.deliveries import lanes
from ledger.models import Delivery, DeliveryState, Webhook

#: The webhooks that the filter of the list offers.
MOST_OFFERED = 100
TONES = {DeliveryState.WAITING: "wait", DeliveryState.SENT: "good", DeliveryState.FAILED: "bad"}


class WebhookFilter(admin.SimpleListFilter):
    """Filters by webhook. It offers only those that the reader may see."""

    title = "webhook"
    parameter_name = "webhook"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return each id with the name or the host."""
        if not opens(request, Webhook):
            return []
        rows = admin.site._registry[Webhook].get_queryset(request).order_by("name", "created_at")
        return [(str(row.pk), one_line(row.name or row.host)) for row in rows[:MOST_OFFERED]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the deliveries of the chosen webhook."""
        if not self.value():
            return queryset
        try:
            return queryset.filter(webhook=UUID(self.value()))
        except ValueError:
            return queryset.none()


@admin.register(Delivery)
class DeliveryAdmin(ProjectScopedAdmin, ReadOnly):
    """The log of deliveries, newest first: webhooks, mails and chat messages."""

    list_display = ("type_shown", "to", "kind", "project", "created", "tries", "due", "state_shown", "error")
    list_filter = (ProjectFilter, "state", WebhookFilter)
    search_fields = ("receiver__startswith", "type__startswith")
    search_help_text = "The beginning of a receiver or of a type."
    list_select_related = ("project",)
    ordering = ("-created_at", "-pk")
    fields = (
        "type_shown", "to", "kind", "webhook", "project", "cursor", "created", "state_shown", "due", "settled", "tries",
        "last_status", "took", "error_shown", "content",
    )  # fmt: skip
    readonly_fields = fields
    change_form_template = "admin/ledger/delivery/page.html"
    change_list_template = "admin/ledger/delivery/list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Leave the payloads to the page of one."""
        rows: QuerySet[Delivery] = super().get_queryset(request)
        return rows.defer("payload")

    def get_urls(self) -> list[URLPattern]:
        """Add the address of the button."""
        view = self.admin_site.admin_view(self.redrive)
        return [path("<any_uuid:row_id>/redrive/", view, name="ledger_delivery_redrive"), *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show one, with the button for permitted readers."""
        more = {"may_redrive": may(request, "change", Delivery)}
        kwargs["extra_context"] = {**more, **(kwargs.get("extra_context") or {})}
        return super().change_view(request, object_id, *args, **kwargs)

    def redrive(self, request: HttpRequest, row_id: UUID) -> HttpResponse:
        """Send it again, by POST only."""
        row = self.find(request, row_id)
        if not may(request, "change", Delivery):
            raise PermissionDenied
        user: Any = request.user
        if request.method != "POST":
            say_nothing_was_done(request)
        elif lanes.redrive(row, Actor.of_user(user)):
            self.message_user(request, "It is sent again now, under the same id.")
        return HttpResponseRedirect(reverse("admin:ledger_delivery_change", args=[row_id]))

    @admin.display(description="type", ordering="type")
    def type_shown(self, row: Delivery) -> str:
        """The type of the event, or of the message."""
        return one_line(row.type)

    @admin.display(description="to", ordering="receiver")
    def to(self, row: Delivery) -> SafeString:
        """The receiver: a host, a person or a room."""
        return clipped(row.receiver)

    @admin.display(description="kind")
    def kind(self, row: Delivery) -> str:
        """The kind of receiver."""
        return visible(row.lane.partition(":")[0])

    @admin.display(description="created", ordering="created_at")
    def created(self, row: Delivery) -> Any:
        """The time since it was made."""
        return age(row.created_at)

    @admin.display(description="next try", ordering="due_at")
    def due(self, row: Delivery) -> Any:
        """The time until the next try, while it waits."""
        return until(row.due_at) if row.state == DeliveryState.WAITING else NOTHING

    @admin.display(description="settled", ordering="settled_at")
    def settled(self, row: Delivery) -> Any:
        """The time since it was accepted or given up."""
        return age(row.settled_at)

    @admin.display(description="state", ordering="state")
    def state_shown(self, row: Delivery) -> SafeString:
        """Waiting, sent or failed."""
        return badge(row.state, TONES[DeliveryState(row.state)])

    @admin.display(description="took")
    def took(self, row: Delivery) -> str:
        """The time of the last try."""
        return NOTHING if row.took_ms is None else f"{row.took_ms} ms"

    @admin.display(description="last error")
    def error(self, row: Delivery) -> str:
        """The beginning of the last error."""
        return one_line(row.last_error, 60)

    @admin.display(description="last error")
    def error_shown(self, row: Delivery) -> SafeString:
        """The whole last error."""
        return _block(row.last_error)

    @admin.display(description="sent text")
    def content(self, row: Delivery) -> SafeString:
        """The text that is sent."""
        return _block(row.payload)


def _block(text: str) -> SafeString:
    return format_html('<pre class="wr-text wr-text-whole">{}</pre>', visible(text, lines=True) or NOTHING)
