"""Grants in the admin: a list with counts, the page of one with the requests that it let through, and revoking."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path as route
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.actors import Actor
from accounts.adminsite.project_scoped import ProjectFilter
from approvals.adminsite.remembered import LONGEST, RememberedAdmin, StateFilter, may_revoke
from approvals.display import copies, lines
from approvals.grants import endings, matching, selectors
from approvals.models import Approval, Grant
from approvals.states import GrantScope
from core.adminsite.display import exact
from core.adminsite.model_admins import say_nothing_was_done
from core.display.redaction import json_copy
from core.display.text import shortened, visible
from core.web import problems
from wardroom import jcs

#: Requests on the page of a grant, and characters of its action in the list.
MOST_SHOWN, LONGEST_ACTION = 50, 140


@admin.register(Grant)
class GrantAdmin(RememberedAdmin):
    """Show staff the grants of their own projects. Revoking needs the permission `approvals.decide`."""

    list_display = ("what", "holder", "granted_from", "state_and_uses", "revoke_button")
    list_filter = (StateFilter, "scope", ProjectFilter)
    list_select_related = ("project",)
    search_fields: ClassVar = ()
    fields = (
        "what", "holder", "count", "state", "granted", "origin", "last_used", "ends",
        "bounds", "needs", "risk", "reversibility", "varies", "approved",
    )  # fmt: skip
    readonly_fields = fields
    change_list_template = "admin/approvals/grant/list.html"
    change_form_template = "admin/approvals/grant/page.html"
    revoke_address = "admin:approvals_grant_revoke"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Grant]:
        """Return the grants of the reader's projects with their state."""
        return selectors.annotated(super().get_queryset(request), matching.carried(OuterRef("project")))

    def get_urls(self) -> list[Any]:
        """Add the address of the button."""
        revoke = self.admin_site.admin_view(self.revoke)
        return [route("<any_uuid:grant_id>/revoke/", revoke, name="approvals_grant_revoke"), *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show one grant with the latest requests that it let through."""
        grant = self.get_object(request, object_id)
        passed: Any = ()
        if grant is not None:
            of = Approval.objects.filter(project=grant.project_id, rule=grant.rule)
            passed = of.order_by("-settled_at")[:MOST_SHOWN]
        kwargs["extra_context"] = {
            **(kwargs.get("extra_context") or {}),
            "title": "Grant",
            "passed": passed,
            "may_revoke": grant is not None and grant.ended_at is None and may_revoke(request),
        }
        return super().change_view(request, object_id, *args, **kwargs)

    def revoke(self, request: HttpRequest, grant_id: UUID) -> HttpResponse:
        """End the grant, by POST only."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        grant = self.find(request, grant_id)
        back = reverse("admin:approvals_grant_change", args=[grant.pk])
        if request.method != "POST":
            say_nothing_was_done(request)
            return HttpResponseRedirect(back)
        try:
            done = endings.revoke(grant.project_id, grant.pk, Actor.of_user(request.user))  # type: ignore[arg-type]
        except problems.Problem as refusal:
            raise PermissionDenied(refusal.detail) from None
        if done.end_reason == "revoked":
            messages.success(
                request, f"The grant is revoked: nothing passes by it any more. It was used {done.used} times."
            )
        else:
            messages.warning(request, "The grant had ended already.")
        return HttpResponseRedirect(reverse("admin:approvals_grant_changelist") if "list" in request.POST else back)

    @admin.display(description="action")
    def what(self, grant: Grant) -> SafeString:
        """Return the tool and one line of its action, as the way to the page."""
        return format_html(
            '<span class="ap-tool">{}</span> <span class="ap-preview">{}</span>',
            shortened(grant.tool_name, LONGEST),
            shortened(lines.of_action(copies.of_action(grant.action)), LONGEST_ACTION),
        )

    @admin.display(description="for")
    def holder(self, grant: Grant) -> SafeString:
        """Return the sessions that it is for."""
        session = format_html('<span class="wr-mono" title="{}">{}</span>', grant.session, str(grant.session)[:8])
        if grant.scope == GrantScope.ROLE:
            label = "" if grant.has_role_reach else " (the name alone)"
            return format_html("the role {}{}", shortened(grant.role, LONGEST), label)
        below = " and its descendants" if grant.scope == GrantScope.TREE else ""
        return format_html('<span class="wr-nowrap">session {}</span>{}', session, below)

    @admin.display(description="expires at")
    def bounds(self, grant: Grant) -> str:
        """Return the time of its expiry."""
        return exact(grant.expires_at)

    @admin.display(description="permission")
    def needs(self, grant: Grant) -> str:
        """Return the permission that the action names."""
        return visible(grant.permission)

    @admin.display(description="may vary")
    def varies(self, grant: Grant) -> str:
        """Return the arguments that may vary, each with its bound."""
        if not grant.slots:
            return "nothing: exactly this action"
        found = [
            f"{visible(name)}: {visible(jcs.canonical(bound))}"
            for name, bound in sorted(json_copy(grant.slots).shown.items())
        ]
        return "; ".join(found)

    @admin.display(description="the action, as it was approved")
    def approved(self, grant: Grant) -> SafeString:
        """Return the canonical action, without what belongs to one request alone."""
        action = copies.of_action(grant.action)
        shown = {name: value for name, value in action.items() if name not in ("v", "request_id", "attempt")}
        return format_html('<pre class="wr-text wr-text-whole">{}</pre>', visible(jcs.canonical(shown), lines=True))
