"""Settle many quarantined messages at once in the admin: each independently, after a page that asks to confirm."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.actors import Actor
from core.display.text import shortened, visible
from core.web import problems
from mailbox import quarantine
from mailbox.models import Quarantined
from mailbox.states import QuarantineState

#: The most rows of one action. It bounds the time of a request and the damage of a mistake.
MOST = 200
#: The number of refused messages that are named. The others are still in the list.
NAMED = 5
log = logging.getLogger(__name__)

Settle = Callable[[Quarantined], Quarantined]


class ManyAtOnce(admin.ModelAdmin):
    """The two actions of the list. The rows are those of `get_queryset`, so other projects stay out of reach."""

    actions: Any = ("requeue_chosen", "discard_chosen")

    @admin.display(description=format_html('<input type="checkbox" id="{}">', "action-toggle"))
    def action_checkbox(self, obj: Quarantined) -> SafeString:
        """Return the standard checkbox. Its standard label would contain the sender's text unescaped."""
        label = f"Choose {visible(str(obj))}"
        box = forms.CheckboxInput({"class": "action-select", "aria-label": label}, lambda value: False)
        return box.render(ACTION_CHECKBOX_NAME, str(obj.pk))

    @admin.action(description="Requeue the chosen, as they are", permissions=["settle"])
    def requeue_chosen(self, request: HttpRequest, chosen: QuerySet[Quarantined]) -> HttpResponse | None:
        """Validate each chosen message again and deliver it to its mailbox."""
        if "confirmed" not in request.POST:
            return self._confirm(request, chosen, "requeue")
        actor = _actor(request)
        self._settle_each(request, chosen, lambda row: quarantine.requeue(row.pk, actor), "in their mailboxes")
        return None

    @admin.action(description="Discard the chosen", permissions=["settle"])
    def discard_chosen(self, request: HttpRequest, chosen: QuerySet[Quarantined]) -> HttpResponse | None:
        """Discard each chosen message for good, with one note for all."""
        note = request.POST.get("note", "").replace("\0", "")
        if "confirmed" not in request.POST or not note.strip():
            return self._confirm(request, chosen, "discard")
        actor = _actor(request)
        self._settle_each(request, chosen, lambda row: quarantine.discard(row.pk, actor, note), "discarded")
        return None

    def _confirm(self, request: HttpRequest, chosen: QuerySet[Quarantined], operation: str) -> HttpResponse:
        rows, more = _bounded(chosen)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Requeue them as they are?" if operation == "requeue" else "Discard them?",
            "operation": operation,
            "rows": rows,
            "more": more,
            "most": MOST,
            "checkbox": ACTION_CHECKBOX_NAME,
            "is_without_note": "confirmed" in request.POST,
        }
        return TemplateResponse(request, "admin/mailbox/quarantined/many.html", context)

    def _settle_each(self, request: HttpRequest, chosen: QuerySet[Quarantined], settle: Settle, done: str) -> None:
        """Settle each row in its own transaction: a refused or broken row does not affect the others."""
        asked = len(set(request.POST.getlist(ACTION_CHECKBOX_NAME)))
        waiting, beyond = _bounded(chosen.filter(state=QuarantineState.WAITING))
        refused: list[tuple[Quarantined, str]] = []
        for row in waiting:
            try:
                settle(row)
            except Exception as error:
                problem = problems.as_problem(error)
                if problem is None:
                    log.exception("quarantined message %s could not be settled", row.pk)
                    problem = problems.internal()
                refused.append((row, str(problem)))
        if settled := len(waiting) - len(refused):
            self.message_user(request, f"{settled} of {asked} are {done}.")
        if beyond:
            text = f"{beyond} of {asked} still wait: at most {MOST} are settled at once."
            self.message_user(request, text, messages.WARNING)
        if before := asked - len(waiting) - beyond:
            text = f"{before} of {asked} were settled before. Nothing was changed there."
            self.message_user(request, text, messages.WARNING)
        for row, why in refused[:NAMED]:
            name = shortened(row.message_id, 60) or f"the message {row.pk}"
            self.message_user(request, f"{name} stays here: {shortened(why, 300)}", messages.ERROR)
        if len(refused) > NAMED:
            text = f"{len(refused) - NAMED} more stay here. The page of each shows the reason."
            self.message_user(request, text, messages.ERROR)


def _bounded(chosen: QuerySet[Quarantined]) -> tuple[list[Quarantined], int]:
    """Return the rows to settle now, oldest first, and the number of chosen rows beyond the limit."""
    rows = list(chosen.order_by("created_at", "pk")[:MOST])
    return rows, (chosen.count() - len(rows) if len(rows) == MOST else 0)


def _actor(request: HttpRequest) -> Actor:
    user: Any = request.user
    return Actor.of_user(user)
