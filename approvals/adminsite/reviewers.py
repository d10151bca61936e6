"""Reviewers in the admin: a list, and a form. They need the right to change rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path

from accounts import projects
from accounts.adminsite.permissions import actor
from accounts.adminsite.project_scoped import ProjectFilter, ProjectScopedAdmin
from accounts.models import User
from approvals.models import Review, Reviewer, Rule
from approvals.review import reviewers
from approvals.review.bodies import MOST_AT_ONCE, ReviewerBody
from core.adminsite.forms import BodyForm, saved
from core.adminsite.model_admins import ReadOnly, may, say_nothing_was_done
from core.display.text import visible
from core.web import problems


class ReviewerForm(BodyForm):
    """The settings of a reviewer. The operation checks them."""

    name = forms.CharField(max_length=64, help_text="Rules name it.")
    url = forms.CharField(required=False, label="URL", help_text="Of a webhook: it gets each request by POST.")
    at_once = forms.IntegerField(
        min_value=1, max_value=MOST_AT_ONCE, initial=4, help_text="Requests that it looks at at once."
    )

    def __init__(self, user: User, posted: Mapping[str, Any] | None = None, row: Reviewer | None = None) -> None:
        super().__init__(posted, initial=vars(row) if row is not None else None)
        names = reviewers.installed()
        if row is not None and row.entry_point and row.entry_point not in names:
            names.append(row.entry_point)
        self.fields["entry_point"] = forms.ChoiceField(
            required=False, choices=[("", "none"), *((name, name) for name in names)], label="Entry point",
            help_text="Or the reviewer of an installed package.",
        )  # fmt: skip
        if row is None:
            mine = projects.visible_to(user)
            only = mine.first() if len(mine) == 1 else None
            self.fields["project"] = forms.ModelChoiceField(queryset=mine, initial=only)

    def body(self) -> ReviewerBody | None:
        """Return the settings of a valid form. Otherwise the form has errors now, and the answer is None."""
        if not self.is_valid():
            return None
        clean = self.cleaned_data
        said = {"name": clean["name"], "at_once": clean["at_once"]}
        said |= {name: clean[name] or None for name in ("url", "entry_point")}
        return self.converted(said, ReviewerBody)


@admin.register(Reviewer)
class ReviewerAdmin(ProjectScopedAdmin, ReadOnly):
    """Reviewers of the reader's projects. Every change runs through the operations, with its audit row."""

    list_display = ("title", "project", "kind", "place", "at_once", "waiting")
    list_filter = (ProjectFilter, "kind")
    list_select_related = ("project",)
    change_list_template = "admin/approvals/reviewer/list.html"
    ordering: ClassVar = ("project", "name")

    @admin.display(description="name", ordering="name")
    def title(self, row: Reviewer) -> str:
        """Return its name, visibly."""
        return visible(row.name)

    @admin.display(description="at")
    def place(self, row: Reviewer) -> str:
        """Return its host, or its entry point."""
        return visible(reviewers.place(row))

    @admin.display(description="requests that wait")
    def waiting(self, row: Reviewer) -> int:
        """Return the number of requests that it looks at."""
        return Review.objects.filter(reviewer=row).count()

    def get_urls(self) -> list[Any]:
        """Add the addresses of a new secret and a deletion."""
        view = self.admin_site.admin_view
        urls = [
            path("<any_uuid:reviewer_id>/rotate/", view(self.rotate_view), name="approvals_reviewer_rotate"),
            path("<any_uuid:reviewer_id>/remove/", view(self.remove_view), name="approvals_reviewer_remove"),
        ]
        return urls + super().get_urls()

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show it to those who may view it."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow those who may change rules: a URL may hold a secret."""
        return may(request, "change", Rule)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow those who may view them."""
        return self.has_view_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """GET shows the form. POST adds the reviewer, and shows the secret of a webhook."""
        self._check(request)
        user: Any = request.user
        form = ReviewerForm(user, request.POST or None)

        def create(body: ReviewerBody) -> tuple[Reviewer, str | None]:
            return reviewers.create(form.cleaned_data["project"].pk, body, actor(request))

        created = saved(request, form, form.body, create)
        if created is None:
            return self._page(request, form, None)
        row, secret = created
        self.log_addition(request, row, f"Added: {row.kind}.")
        messages.success(request, "The reviewer is there. A rule with the outcome review names it.")
        if secret is not None:
            return self._page(request, ReviewerForm(user, None, row), row, secret=secret)
        return redirect("admin:approvals_reviewer_change", row.pk)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show a reviewer. POST replaces its settings."""
        self._check(request)
        row: Reviewer = self.find(request, object_id)
        user: Any = request.user
        form = ReviewerForm(user, request.POST or None, row)

        def change(body: ReviewerBody) -> Reviewer:
            return reviewers.change(row.project_id, row.pk, body, actor(request))

        if saved(request, form, form.body, change) is None:
            return self._page(request, form, row)
        self.log_change(request, row, "Changed.")
        messages.success(request, "It counts for the next call.")
        return redirect("admin:approvals_reviewer_change", row.pk)

    def rotate_view(self, request: HttpRequest, reviewer_id: UUID) -> HttpResponse:
        """Make a new secret, by POST only, and show it."""
        self._check(request)
        row, user = self.find(request, reviewer_id), request.user
        if request.method != "POST":
            say_nothing_was_done(request)
            return redirect("admin:approvals_reviewer_change", row.pk)
        try:
            row, secret = reviewers.rotate(row.project_id, row.pk, actor(request))
        except problems.Problem as refusal:
            messages.error(request, refusal.detail)
            return redirect("admin:approvals_reviewer_change", row.pk)
        self.log_change(request, row, "A new secret.")
        return self._page(request, ReviewerForm(user, None, row), row, secret=secret)  # type: ignore[arg-type]

    def remove_view(self, request: HttpRequest, reviewer_id: UUID) -> HttpResponse:
        """Delete a reviewer, by POST only."""
        self._check(request)
        row = self.find(request, reviewer_id)
        if request.method != "POST":
            say_nothing_was_done(request)
            return redirect("admin:approvals_reviewer_change", row.pk)
        try:
            reviewers.delete(row.project_id, row.pk, actor(request))
        except problems.Problem as refusal:
            messages.error(request, refusal.detail)
            return redirect("admin:approvals_reviewer_change", row.pk)
        messages.success(request, "The reviewer was deleted.")
        return redirect("admin:approvals_reviewer_changelist")

    def _check(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _page(self, request: HttpRequest, form: ReviewerForm, row: Reviewer | None, **more: Any) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": f"Reviewer {visible(row.name)}" if row else "New reviewer",
            "form": form,
            "reviewer": row,
            **more,
        }
        status = 422 if form.errors else 200
        return TemplateResponse(request, "admin/approvals/reviewer/reviewer.html", context, status=status)
