"""The columns that the lists of grants and of plans share, and their filter by state."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.adminsite.project_scoped import ProjectScopedAdmin
from approvals import permissions, schemas
from approvals.grants import selectors
from approvals.models import Grant, Plan
from core.adminsite import display
from core.adminsite.model_admins import ReadOnly
from core.display.text import shortened

TONES = {selectors.LIVE: "good", "revoked": "bad"}
#: Characters of a name in a list.
LONGEST = 60


class StateFilter(admin.SimpleListFilter):
    """Filters by state. Without a choice the list shows every row."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return each state as value and label."""
        return [(state, state.replace("_", " ")) for state in selectors.STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows in the chosen state."""
        chosen = self.value()
        return queryset.filter(selectors.being([chosen])) if chosen in selectors.STATES else queryset


class RememberedAdmin(ProjectScopedAdmin, ReadOnly):
    """Rows that are seen with the approvals, and revoked by those who may answer."""

    #: The address of the button.
    revoke_address: str

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow those who see the approvals."""
        user: Any = request.user
        seen = (permissions.PERMISSION, "approvals.view_approval")
        return super().has_view_permission(request, obj) or any(map(user.has_perm, seen))

    def get_list_display(self, request: HttpRequest) -> Any:
        """Return the columns; the button only for those who may answer."""
        columns = list(super().get_list_display(request))
        return columns if may_revoke(request) else columns[:-1]

    @admin.display(description="granted")
    def granted_from(self, row: Grant | Plan) -> SafeString:
        """Return the person, the time and the request, for the list."""
        return format_html("{}<br>from {}", self.granted(row), self.origin(row))

    @admin.display(description="granted by")
    def granted(self, row: Grant | Plan) -> SafeString:
        """Return the person and the time, and whether their right still carries it."""
        lost = "" if row.is_carried else display.badge("may no longer answer: without effect", "bad")
        name = shortened(schemas.display_name(row.granted_by), LONGEST)
        return format_html("{}, {} {}", name, display.age(row.granted_at), lost)

    @admin.display(description="born from")
    def origin(self, row: Grant | Plan) -> SafeString:
        """Return the request that was answered."""
        address = reverse("admin:approvals_approval_change", args=[row.approval_id])
        return format_html('<a class="wr-mono" href="{}">{}</a>', address, str(row.approval_id)[:8])

    @admin.display(description="state")
    def state(self, row: Grant | Plan) -> SafeString:
        """Return the state as a badge."""
        state = selectors.state(row)
        return display.badge(state.replace("_", " "), TONES.get(state, ""))

    @admin.display(description="last used")
    def last_used(self, row: Grant | Plan) -> Any:
        """Return the time of the last use."""
        return display.age(row.last_used_at)

    @admin.display(description="ends")
    def ends(self, row: Grant | Plan) -> Any:
        """Return the time until it expires, or since it ended."""
        if selectors.state(row) == selectors.LIVE:
            return display.until(row.expires_at)
        return display.age(row.ended_at or row.expires_at)

    @admin.display(description="used")
    def count(self, row: Any) -> str:
        """Return the uses so far, and how many there are."""
        return f"{row.used} of {row.uses}"

    @admin.display(description="state")
    def state_and_uses(self, row: Any) -> SafeString:
        """Return the state, its time and the uses, for the list."""
        last = format_html(", {}", display.age(row.last_used_at)) if row.last_used_at else ""
        # The state of one that has ended says how: revoked, used up, or with its session.
        words = "ends " if selectors.state(row) == selectors.LIVE else ""
        return format_html("{} {}{}<br>used {}{}", self.state(row), words, self.ends(row), self.count(row), last)

    @admin.display(description="")
    def revoke_button(self, row: Grant | Plan) -> Any:
        """Return the button, which sends the form of the list."""
        if selectors.state(row) != selectors.LIVE:
            return ""
        button = '<button class="wr-button wr-button-bad" name="list" value="1" formaction="{}">Revoke</button>'
        return format_html(button, reverse(self.revoke_address, args=[row.pk]))


def may_revoke(request: HttpRequest) -> bool:
    """Return True if the reader may answer requests."""
    user: Any = request.user
    return bool(user.has_perm(permissions.PERMISSION))
