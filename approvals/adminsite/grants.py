"""Grants in the admin: a list with counts, the page of one with the requests that it let through, and revoking."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path as route
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.actors import Actor
from accounts.adminsite.project_scoped import ProjectFilter, ProjectScopedAdmin
from approvals import permissions, schemas
from approvals.display import copies
from approvals.grants import endings, matching, selectors
from approvals.models import Approval, Grant
from approvals.states import GrantScope
from core.adminsite import display
from core.adminsite.model_admins import ReadOnly, say_nothing_was_done
from core.display.redaction import json_copy, redacted
from core.display.text import shortened, visible
from core.web import problems
from wardroom import jcs

TONES = {selectors.LIVE: "good", "revoked": "bad"}
#: Requests on the page of a grant, and characters of a name in the list.
MOST_SHOWN, LONGEST = 50, 60


class StateFilter(admin.SimpleListFilter):
    """Filters by state. Without a choice the list shows every grant."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return each state as value and label."""
        return [(state, state.replace("_", " ")) for state in selectors.STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the grants in the chosen state."""
        chosen = self.value()
        return queryset.filter(selectors.being([chosen])) if chosen in selectors.STATES else queryset


@admin.register(Grant)
class GrantAdmin(ProjectScopedAdmin, ReadOnly):
    """Show staff the grants of their own projects. Revoking needs the permission `approvals.decide`."""

    list_display = ("what", "holder", "uses_so_far", "granted_from", "state_until", "revoke_button")
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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Grant]:
        """Return the grants of the reader's projects with their state."""
        return selectors.annotated(super().get_queryset(request), matching.carried(OuterRef("project")))

    def get_urls(self) -> list[Any]:
        """Add the address of the button."""
        revoke = self.admin_site.admin_view(self.revoke)
        return [route("<any_uuid:grant_id>/revoke/", revoke, name="approvals_grant_revoke"), *super().get_urls()]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow those who see the approvals."""
        user: Any = request.user
        seen = (permissions.PERMISSION, "approvals.view_approval")
        return super().has_view_permission(request, obj) or any(map(user.has_perm, seen))

    def get_list_display(self, request: HttpRequest) -> Any:
        """Return the columns; the button only for those who may answer."""
        columns = list(super().get_list_display(request))
        return columns if _may_revoke(request) else columns[:-1]

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
            "may_revoke": grant is not None and grant.ended_at is None and _may_revoke(request),
        }
        return super().change_view(request, object_id, *args, **kwargs)

    def revoke(self, request: HttpRequest, grant_id: UUID) -> HttpResponse:
        """End the grant, by POST only."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        grant = self.get_object(request, str(grant_id))
        if grant is None:
            raise Http404
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
        """Return the tool and its resource, as the way to the page."""
        return format_html(
            '<span class="ap-tool">{}</span> <span class="ap-preview">{}</span>',
            shortened(grant.tool_name, LONGEST),
            shortened(redacted(grant.resource), 2 * LONGEST),
        )

    @admin.display(description="for")
    def holder(self, grant: Grant) -> SafeString:
        """Return the sessions that it is for."""
        session = format_html('<span class="wr-mono" title="{}">{}</span>', grant.session, str(grant.session)[:8])
        if grant.scope == GrantScope.ROLE:
            label = "" if grant.has_role_reach else " (the name alone)"
            return format_html("the role {}{}", shortened(grant.role, LONGEST), label)
        below = " and its descendants" if grant.scope == GrantScope.TREE else ""
        return format_html("session {}{}", session, below)

    @admin.display(description="used")
    def uses_so_far(self, grant: Grant) -> SafeString:
        """Return the count and the last use, for the list."""
        last = format_html("<br>{}", display.age(grant.last_used_at)) if grant.last_used_at else ""
        return format_html("{}{}", self.count(grant), last)

    @admin.display(description="granted")
    def granted_from(self, grant: Grant) -> SafeString:
        """Return the person, the time and the request, for the list."""
        return format_html("{}<br>from {}", self.granted(grant), self.origin(grant))

    @admin.display(description="state")
    def state_until(self, grant: Grant) -> SafeString:
        """Return the state and its time, for the list."""
        return format_html("{}<br>{}", self.state(grant), self.ends(grant))

    @admin.display(description="used")
    def count(self, grant: Grant) -> str:
        """Return the uses so far, and how many there are."""
        return f"{grant.used} of {grant.uses}"

    @admin.display(description="granted by")
    def granted(self, grant: Grant) -> SafeString:
        """Return the person and the time, and whether their right still carries it."""
        lost = "" if grant.is_carried else display.badge("may no longer answer: without effect", "bad")
        name = shortened(schemas.display_name(grant.granted_by), LONGEST)
        return format_html("{}, {} {}", name, display.age(grant.granted_at), lost)

    @admin.display(description="born from")
    def origin(self, grant: Grant) -> SafeString:
        """Return the request that was answered."""
        address = reverse("admin:approvals_approval_change", args=[grant.approval_id])
        return format_html('<a class="wr-mono" href="{}">{}</a>', address, str(grant.approval_id)[:8])

    @admin.display(description="last used")
    def last_used(self, grant: Grant) -> Any:
        """Return the time of the last use."""
        return display.age(grant.last_used_at)

    @admin.display(description="ends")
    def ends(self, grant: Grant) -> Any:
        """Return the time until it expires, or since it ended."""
        return display.age(grant.ended_at) if grant.ended_at else display.until(grant.expires_at)

    @admin.display(description="state")
    def state(self, grant: Grant) -> SafeString:
        """Return the state as a badge."""
        state = selectors.state(grant)
        return display.badge(state.replace("_", " "), TONES.get(state, ""))

    @admin.display(description="")
    def revoke_button(self, grant: Grant) -> Any:
        """Return the button, which sends the form of the list."""
        if selectors.state(grant) != selectors.LIVE:
            return ""
        address = reverse("admin:approvals_grant_revoke", args=[grant.pk])
        button = '<button class="wr-button wr-button-bad" name="list" value="1" formaction="{}">Revoke</button>'
        return format_html(button, address)

    @admin.display(description="expires at")
    def bounds(self, grant: Grant) -> Any:
        """Return the time of its expiry."""
        return grant.expires_at

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


def _may_revoke(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.has_perm(permissions.PERMISSION))
