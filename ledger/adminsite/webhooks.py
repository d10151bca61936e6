"""Webhooks in the admin: add one, change it, try it, make a new secret, and remove it. A secret is shown once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_variables

from accounts import display_names
from accounts.adminsite.permissions import actor
from accounts.adminsite.project_scoped import ProjectFilter, ProjectScopedAdmin
from core.adminsite.display import NOTHING, age, badge, clipped, one_line, until
from core.adminsite.forms import saved
from core.adminsite.model_admins import ReadOnly, may, opens, say_nothing_was_done
from core.display.text import visible
from core.web import problems
from ledger.adminsite.deliveries import TONES
from ledger.adminsite.webhook_form import WebhookForm
from ledger.models import Delivery, DeliveryState, Lane, Webhook
from ledger.webhooks import receivers, trial
from ledger.webhooks.bodies import WebhookNew, WebhookSettings

TEMPLATES = "admin/ledger/webhook"
#: The deliveries on the page of a webhook.
MOST_LISTED = 10


@admin.register(Webhook)
class WebhookAdmin(ProjectScopedAdmin, ReadOnly):
    """The receivers of events. Every change runs through the operations of REST, with its audit row."""

    list_display = ("label", "project", "host_shown", "types_shown", "state", "failing")
    list_filter = (ProjectFilter,)
    search_fields = ("name", "url")
    list_select_related = ("project",)
    ordering = ("-created_at", "-pk")
    fields = (
        "label", "project", "host_shown", "types_shown", "state", "failing", "previous_secret_shown", "cursor",
        "created", "created_by_shown",
    )  # fmt: skip
    readonly_fields = fields
    change_list_template = f"{TEMPLATES}/list.html"
    change_form_template = f"{TEMPLATES}/page.html"

    @admin.display(description="name", ordering="name")
    def label(self, webhook: Webhook) -> str:
        """Its name, or its host."""
        return one_line(webhook.name or webhook.host)

    @admin.display(description="host")
    def host_shown(self, webhook: Webhook) -> SafeString:
        """The host. The rest of the URL may hold a secret."""
        return clipped(webhook.host)

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

    @admin.display(description="previous secret signs until")
    def previous_secret_shown(self, webhook: Webhook) -> Any:
        """The end of a rotation."""
        return until(webhook.previous_until)

    @admin.display(description="created")
    def created(self, webhook: Webhook) -> Any:
        """The time since it was added."""
        return age(webhook.created_at)

    @admin.display(description="created by")
    def created_by_shown(self, webhook: Webhook) -> str:
        """The caller that added it."""
        return visible(display_names.named(webhook.created_by))

    def get_urls(self) -> list[URLPattern]:
        """Add the pages and buttons."""
        view = self.admin_site.admin_view
        one = "<any_uuid:webhook_id>"
        return [
            path(f"{one}/edit/", view(self.edit_view), name="ledger_webhook_edit"),
            path(f"{one}/rotate/", view(self.rotate_view), name="ledger_webhook_rotate"),
            path(f"{one}/test/", view(self.test_view), name="ledger_webhook_test"),
            path(f"{one}/remove/", view(self.remove_view), name="ledger_webhook_remove"),
            *super().get_urls(),
        ]

    def get_search_fields(self, request: HttpRequest) -> list[str] | tuple[str, ...]:
        """Search the URLs only for those who may see them. Others would find the secret in one, sign by sign."""
        return self.search_fields if may(request, "change", Webhook) else ("name",)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow readers with either permission."""
        return super().has_view_permission(request, obj) or may(request, "change", Webhook)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow those who may change webhooks."""
        return may(request, "change", Webhook)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show one with its latest deliveries, and with buttons for permitted readers."""
        more: dict[str, Any] = {"may_change": may(request, "change", Webhook)}
        webhook = self.get_object(request, object_id)
        if webhook is not None and opens(request, Delivery):
            rows = Delivery.objects.filter(webhook=webhook).defer("payload").order_by("-created_at", "-pk")
            more["deliveries"] = [
                (row, badge(row.state, TONES[DeliveryState(row.state)]), age(row.created_at))
                for row in rows[:MOST_LISTED]
            ]
        kwargs["extra_context"] = {**more, **(kwargs.get("extra_context") or {})}
        return super().change_view(request, object_id, *args, **kwargs)

    @method_decorator(sensitive_variables("secret"))
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """GET shows the form. POST adds the webhook, and shows its secret once."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        user: Any = request.user
        form = WebhookForm(user, request.POST or None)

        def create(body: WebhookNew) -> tuple[Webhook, str]:
            project, types = form.cleaned_data["project"].pk, body.types or ["*"]
            return receivers.create(project, actor(request), url=body.url, types=types, name=body.name or "")

        created = saved(request, form, form.new, create)
        if created is None:
            return self._form(request, form, None)
        webhook, secret = created
        self.log_addition(request, webhook, "Added.")
        return self._secret(request, webhook, secret, "Your new webhook")

    def edit_view(self, request: HttpRequest, webhook_id: UUID) -> HttpResponse:
        """GET shows the settings. POST replaces them."""
        webhook, user = self._to_change(request, webhook_id), request.user
        form = WebhookForm(user, request.POST or None, webhook=webhook)  # type: ignore[arg-type]

        def change(body: WebhookSettings) -> Webhook:
            return receivers.change(
                webhook, actor(request), url=body.url, types=body.types, name=body.name or "", enabled=body.enabled
            )

        if saved(request, form, form.settings, change) is None:
            return self._form(request, form, webhook)
        self.log_change(request, webhook, "Changed.")
        messages.success(request, "The webhook is changed.")
        return redirect("admin:ledger_webhook_change", webhook.pk)

    @method_decorator(sensitive_variables("secret"))
    def rotate_view(self, request: HttpRequest, webhook_id: UUID) -> HttpResponse:
        """Make a new secret, by POST only, and show it once."""
        webhook = self._to_change(request, webhook_id)
        if request.method != "POST":
            return self._not_posted(request, webhook)
        webhook, secret = receivers.rotate(webhook, actor(request))
        self.log_change(request, webhook, "Made a new secret.")
        return self._secret(request, webhook, secret, "The new secret")

    def test_view(self, request: HttpRequest, webhook_id: UUID) -> HttpResponse:
        """Send an event `webhook_test`, by POST only."""
        webhook = self._to_change(request, webhook_id)
        if request.method != "POST":
            return self._not_posted(request, webhook)
        try:
            trial.send(webhook)
        except problems.Problem as refusal:
            messages.error(request, refusal.detail)
        else:
            self.log_change(request, webhook, "Sent a test event.")
            messages.success(request, "A test event is on its way. Load this page again to see its outcome.")
        return redirect("admin:ledger_webhook_change", webhook.pk)

    def remove_view(self, request: HttpRequest, webhook_id: UUID) -> HttpResponse:
        """Remove it with its deliveries, by POST only."""
        webhook = self._to_change(request, webhook_id)
        if request.method != "POST":
            return self._not_posted(request, webhook)
        self.log_deletions(request, self.get_queryset(request).filter(pk=webhook.pk))
        receivers.remove(webhook, actor(request))
        messages.success(request, "The webhook is removed, with its deliveries.")
        return redirect("admin:ledger_webhook_changelist")

    def _to_change(self, request: HttpRequest, webhook_id: UUID) -> Webhook:
        webhook: Webhook = self.find(request, webhook_id)
        if not may(request, "change", Webhook):
            raise PermissionDenied
        return webhook

    def _not_posted(self, request: HttpRequest, webhook: Webhook) -> HttpResponse:
        say_nothing_was_done(request)
        return redirect("admin:ledger_webhook_change", webhook.pk)

    def _form(self, request: HttpRequest, form: WebhookForm, webhook: Webhook | None) -> HttpResponse:
        title = "New webhook" if webhook is None else f"Change {one_line(webhook.name or webhook.host)}"
        status = 422 if form.errors else 200
        return self._page(request, "form", status=status, title=title, form=form, original=webhook)

    def _secret(self, request: HttpRequest, webhook: Webhook, secret: str, title: str) -> HttpResponse:
        return self._page(request, "secret", title=title, original=webhook, secret=secret)

    def _page(self, request: HttpRequest, name: str, *, status: int = 200, **context: Any) -> TemplateResponse:
        context |= {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, f"{TEMPLATES}/{name}.html", context, status=status)
