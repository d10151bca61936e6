"""The admin queue and the page of one approval. The rows are read-only; staff can only answer them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path

from accounts.actors import Actor
from accounts.adminsite.project_scoped import ProjectScopedAdmin
from approvals import decisions, permissions, schemas
from approvals.adminsite import answers, figures, outcomes, page, plans, queue, steps
from approvals.adminsite.preferences import PreferenceForm
from approvals.display import revealing
from approvals.models import Approval, ApprovalQuerySet, NotifyPreference
from approvals.selectors import snoozed_by, with_claims, with_session_name, with_waiters
from approvals.states import Status
from core.adminsite.model_admins import ReadOnly
from core.web import problems

TEMPLATES = "admin/approvals/approval"
NOT_DONE = "Nothing was done: you were signed out when you sent this. Look at the page and send it again."
NOT_DECIDED = "Nothing was decided: you were signed out when you sent the answer. Check the request and answer again."


@admin.register(Approval)
class ApprovalAdmin(ProjectScopedAdmin, ReadOnly):
    """Show staff the requests of their own projects. Answering needs the permission `approvals.decide`."""

    search_fields: ClassVar = ()

    def get_urls(self) -> list[Any]:
        """Add the URLs of the parts that refresh themselves, and of the answer."""
        view = self.admin_site.admin_view
        urls = [
            path("queue/", view(self.queue_part), name="approvals_approval_queue"),
            path("figures/", view(self.figures), name="approvals_approval_figures"),
            path("figures/part/", view(self.figures_part), name="approvals_approval_figures_part"),
            path("notifications/", view(self.preferences), name="approvals_approval_preferences"),
            path("answers/", view(self.answers), name="approvals_approval_answers"),
            path("<any_uuid:approval_id>/part/", view(self.page_part), name="approvals_approval_part"),
            path("<any_uuid:approval_id>/step/", view(self.step), name="approvals_approval_step"),
            path("<any_uuid:approval_id>/outcome/", view(self.settle_outcome), name="approvals_approval_outcome"),
            path("<any_uuid:approval_id>/reveal/", view(self.reveal), name="approvals_approval_reveal"),
            path("<any_uuid:approval_id>/plan/", view(self.revoke_plan), name="approvals_approval_revoke_plan"),
            path("<any_uuid:approval_id>/decide/", view(self.decide), name="approvals_approval_decide"),
        ]
        return urls + super().get_urls()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow staff to view approvals that they may answer."""
        user: Any = request.user
        return super().has_view_permission(request, obj) or bool(user.has_perm(permissions.PERMISSION))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the queue, with the filters that this login has set before when the address names none."""
        if (query := queue.kept(request)) is not None:
            return redirect(f"{request.path}?{query}")
        return self._shown(request, "queue", {"title": "Approvals", **self._queue(request), **(extra_context or {})})

    def queue_part(self, request: HttpRequest) -> HttpResponse:
        """Render the part of the queue that refreshes itself."""
        self._look(request)
        return TemplateResponse(request, f"{TEMPLATES}/_queue.html", self._queue(request))

    def figures(self, request: HttpRequest) -> HttpResponse:
        """Show the figures of the reader's own projects."""
        return self._shown(request, "figures", {"title": "Approvals in figures", **self._figures(request)})

    def figures_part(self, request: HttpRequest) -> HttpResponse:
        """Render the part of the figures that refreshes itself."""
        return TemplateResponse(request, f"{TEMPLATES}/_figures.html", self._figures(request))

    def preferences(self, request: HttpRequest) -> HttpResponse:
        """Show and change the reader's own wishes about mails and chat."""
        self._look(request)
        user: Any = request.user
        row = NotifyPreference.objects.filter(user=user).first() or NotifyPreference(user=user)
        form = PreferenceForm(request.POST if request.method == "POST" else None, instance=row)
        if request.method == "POST" and form.is_valid():
            form.save()
            messages.success(request, "Your notifications are saved.")
            return redirect("admin:approvals_approval_preferences")
        context = {"title": "My notifications", "form": form, "address": user.email, "has_mail": settings.EMAIL_HOST}
        return self._shown(request, "preferences", context)

    def answers(self, request: HttpRequest) -> HttpResponse:
        """Answer one card or several by POST. The script of the page gets the results alone, anybody else the page."""
        self._look(request)
        if request.method != "POST":
            messages.warning(request, NOT_DECIDED)
            return redirect("admin:approvals_approval_changelist")
        context: dict[str, Any] = {"lines": [], "refusal": None}
        try:
            context["lines"] = answers.take(request.POST, self._rows(request), request.user)
        except problems.Problem as refusal:
            context["refusal"] = refusal
        status = context["refusal"].status if context["refusal"] else 200
        if request.headers.get("X-Requested-With") == "live":
            return TemplateResponse(request, f"{TEMPLATES}/_results.html", context, status=status)
        shown = {"title": "Approvals", **self._queue(request), **context}
        told = {line.approval.pk for line in context["lines"] if line.approval}
        shown["recent"] = [approval for approval in shown["recent"] if approval.pk not in told]
        return self._shown(request, "queue", shown, status=status)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show one approval, drawn from its canonical action."""
        return self._page(request, self._find(request, object_id))

    def page_part(self, request: HttpRequest, approval_id: UUID) -> HttpResponse:
        """Render the part of an approval's page that refreshes itself."""
        approval = self._find(request, approval_id)
        return TemplateResponse(request, f"{TEMPLATES}/_facts.html", page.context(approval, request))

    def decide(self, request: HttpRequest, approval_id: UUID) -> HttpResponse:
        """Answer by POST."""

        def answered(approval: Approval) -> str:
            actor = Actor.of_user(request.user)  # type: ignore[arg-type]
            done = decisions.decide(
                approval.project_id, approval.id, page.answer(request.POST, approval), actor, "admin"
            )
            if done.status == Status.PENDING:
                return f"Your approval is {done.vote_count} of {done.quorum}. It still waits."
            return f"You {schemas.past_tense(done)} it."

        return self._posted(request, approval_id, answered, NOT_DECIDED)

    def step(self, request: HttpRequest, approval_id: UUID) -> HttpResponse:
        """Take a step by POST that answers nothing: claim, delegate, snooze and so on."""
        return self._posted(request, approval_id, lambda approval: steps.take(request.POST, approval, request.user))

    def settle_outcome(self, request: HttpRequest, approval_id: UUID) -> HttpResponse:
        """Settle an unknown outcome by POST: it ran, or it did not run."""
        return self._posted(
            request, approval_id, lambda approval: outcomes.settle(request.POST, approval, request.user)
        )

    def revoke_plan(self, request: HttpRequest, approval_id: UUID) -> HttpResponse:
        """End the plan of this request, by POST only."""
        return self._posted(request, approval_id, lambda approval: plans.revoke(approval, request.user))

    def reveal(self, request: HttpRequest, approval_id: UUID) -> HttpResponse:
        """Show the hidden values by POST, once: a reload of the page hides them again. It is an audit row."""
        approval = self._find(request, approval_id)
        if request.method != "POST":
            messages.warning(request, NOT_DONE)
            return redirect("admin:approvals_approval_change", approval.id)
        try:
            revealing.reveal(approval.project_id, approval.id, Actor.of_user(request.user))  # type: ignore[arg-type]
        except problems.Problem:
            raise PermissionDenied from None
        return self._page(request, approval, revealed=page.revealed(approval))

    def _posted(
        self, request: HttpRequest, approval_id: UUID, take: Callable[[Approval], str], not_done: str = NOT_DONE
    ) -> HttpResponse:
        """Take a form of the page, and tell its result. A refusal shows the page, with the current state.

        A login that expired leads back here by GET, without the form.
        """
        approval = self._find(request, approval_id)
        if request.method != "POST":
            messages.warning(request, not_done)
        else:
            try:
                messages.success(request, take(approval))
            except problems.Problem as refusal:
                return self._page(request, self._find(request, approval_id), refusal)
        return redirect("admin:approvals_approval_change", approval.id)

    def _figures(self, request: HttpRequest) -> dict[str, Any]:
        self._look(request)
        return figures.context(self._rows(request), request.GET.get("window"))

    def _queue(self, request: HttpRequest) -> dict[str, Any]:
        self._look(request)
        return queue.context(self._rows(request), request)

    def _page(
        self,
        request: HttpRequest,
        approval: Approval,
        refusal: problems.Problem | None = None,
        revealed: list[page.Argument] | None = None,
    ) -> HttpResponse:
        context = {
            "revealed": revealed,
            **page.context(approval, request),
            **page.forms(approval, request, refusal),
            **(steps.targets(approval) if approval.status == Status.PENDING else {}),
            "stepping": refusal is not None and "step" in request.POST,
            "title": "Approval",
            "queue": with_session_name(self._rows(request))
            .pending()
            .exclude(snoozed_by(request.user.pk))
            .exclude(id=approval.id)
            .order_by("requested_at", "id"),
        }
        return self._shown(request, "page", context, status=refusal.status if refusal else 200)

    def _shown(self, request: HttpRequest, template: str, context: Any, status: int = 200) -> HttpResponse:
        whole = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, f"{TEMPLATES}/{template}.html", whole, status=status)

    def _find(self, request: HttpRequest, approval_id: Any) -> Approval:
        """Return one approval. Raise 404 if it is unknown or in a project that the reader does not see."""
        self._look(request)
        try:
            rows = with_session_name(with_claims(with_waiters(self._rows(request))))
            found = rows.filter(id=UUID(str(approval_id))).first()
        except ValueError:
            found = None
        if found is None:
            raise Http404
        return found

    def _rows(self, request: HttpRequest) -> ApprovalQuerySet:
        queryset: Any = self.get_queryset(request).select_related("project")
        rows: ApprovalQuerySet = queryset
        return rows

    def _look(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied
