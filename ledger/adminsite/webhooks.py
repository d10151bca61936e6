"""Webhooks in the admin: their state."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from accounts import display_names
from accounts.adminsite.project_scoped import ProjectFilter, ProjectScopedAdmin
from core.adminsite.display import NOTHING, age, badge, clipped, one_line
from core.adminsite.model_admins import ReadOnly
from core.display.text import visible
from ledger.models import Lane, Webhook
from ledger.webhooks import receivers


@admin.register(Webhook)
class WebhookAdmin(ProjectScopedAdmin, ReadOnly):
    """The receivers of events. They are added and changed by REST."""

    list_display = ("label", "project", "host_shown", "types_shown", "state", "failing")
    list_filter = (ProjectFilter,)
    search_fields = ("name", "url")
    list_select_related = ("project",)
    ordering = ("-created_at", "-pk")
    fields = (
        "label", "project", "host_shown", "types_shown", "state", "failing", "cursor", "created", "created_by_shown",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="name", ordering="name")
    def label(self, webhook: Webhook) -> str:
        """Its name, or its host."""
        return one_line(webhook.name or receivers.host(webhook))

    @admin.display(description="host")
    def host_shown(self, webhook: Webhook) -> SafeString:
        """The host. The rest of the URL may hold a secret."""
        return clipped(receivers.host(webhook))

    @admin.display(description="events")
    def types_shown(self, webhook: Webhook) -> str:
        """The globs over types of events."""
        return one_line(", ".join(webhook.types), 120)

    @admin.display(description="state")
    def state(self, webhook: Webhook) -> SafeString:
        """Enabled, or the reason why it is not."""
        if webhook.disabled is None:
            return badge("enabled", "good")
        return badge(f"disabled: {webhook.get_disabled_display()}", "bad")

    @admin.display(description="failing")
    def failing(self, webhook: Webhook) -> Any:
        """The time since it fails."""
        lane = Lane.objects.filter(name=webhook.lane).first()
        return NOTHING if lane is None else age(lane.failing_since)

    @admin.display(description="created")
    def created(self, webhook: Webhook) -> Any:
        """The time since it was added."""
        return age(webhook.created_at)

    @admin.display(description="created by")
    def created_by_shown(self, webhook: Webhook) -> str:
        """The caller that added it."""
        return visible(display_names.named(webhook.created_by))
