"""Rules in the admin: a list, a form with a preview, and the report of a rule in shadow."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.safestring import SafeString

from accounts.actors import Actor
from accounts.adminsite.permissions import actor
from accounts.adminsite.project_scoped import ProjectFilter, ProjectScopedAdmin
from approvals.adminsite import rule_form
from approvals.adminsite.rule_form import RuleForm
from approvals.models import Rule, ShadowAnswer
from approvals.rules import editing, previews, schemas
from approvals.rules.bodies import RuleBody
from core.adminsite.display import age, badge
from core.adminsite.forms import saved
from core.adminsite.model_admins import ReadOnly, may, say_nothing_was_done
from core.display.text import shortened

TONES = {"deny": "bad", "allow": "good", "ask": "wait", "review": "wait"}
PREVIEW_DAYS = 30
#: Characters of a match in the list.
LONGEST_MATCH = 160
#: Requests that the report of a silent rule lists.
MOST_LISTED = 50


@admin.register(Rule)
class RuleAdmin(ProjectScopedAdmin, ReadOnly):
    """Rules of the reader's projects. Every change runs through the operations, with its event and its audit row."""

    list_display = ("name", "project", "answer", "matches", "state", "version", "changed")
    list_filter = (ProjectFilter, "outcome", "enabled", "shadow")
    search_fields = ("name",)
    list_select_related = ("project",)
    ordering: ClassVar = ("project", "name")

    @admin.display(description="outcome", ordering="outcome")
    def answer(self, rule: Rule) -> SafeString:
        """Return the outcome as a badge."""
        return badge(rule.outcome, TONES[rule.outcome])

    @admin.display(description="matches")
    def matches(self, rule: Rule) -> str:
        """Return the match in one line."""
        return shortened(rule_form.matches(rule), LONGEST_MATCH)

    @admin.display(description="changed", ordering="changed_at")
    def changed(self, rule: Rule) -> Any:
        """Return the time since the last change."""
        return age(rule.changed_at)

    @admin.display(description="state")
    def state(self, rule: Rule) -> SafeString:
        """Return whether the rule answers."""
        if not rule.enabled:
            return badge("off")
        return badge("in shadow", "wait") if rule.shadow else badge("on", "good")

    def get_urls(self) -> list[Any]:
        """Add the address of a deletion."""
        remove = self.admin_site.admin_view(self.remove_view)
        return [path("<any_uuid:rule_id>/remove/", remove, name="approvals_rule_remove"), *super().get_urls()]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Show the form by GET. POST adds the rule, or previews it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        user: Any = request.user
        form = RuleForm(user, request.POST or None)

        def create(body: RuleBody) -> Rule | HttpResponse:
            project = form.cleaned_data["project"].pk
            if "preview" in request.POST:
                return self._previewed(request, form, None, project, body)
            return editing.create(project, body, actor(request))

        rule = saved(request, form, form.body, create)
        if not isinstance(rule, Rule):
            return rule or self._page(request, form, None)
        self.log_addition(request, rule, f"Added with the outcome {rule.outcome}.")
        messages.success(request, "The rule counts for the next request.")
        return redirect("admin:approvals_rule_change", rule.id)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show a rule. POST replaces it, at the version that was shown, or previews it."""
        if not self.has_view_permission(request) and not may(request, "change", Rule):
            raise PermissionDenied
        rule: Rule = self.find(request, object_id)
        if not may(request, "change", Rule):
            return self._page(request, None, rule)
        user: Any = request.user
        form = RuleForm(user, request.POST or None, rule)

        def change(body: RuleBody) -> Rule | HttpResponse:
            if "preview" in request.POST:
                return self._previewed(request, form, rule, rule.project_id, body)
            return editing.change(rule.project_id, rule.id, body, actor(request))

        changed = saved(request, form, form.body, change)
        if not isinstance(changed, Rule):
            return changed or self._page(request, form, rule)
        self.log_change(request, changed, f"Changed to version {changed.version}.")
        messages.success(request, "The rule counts for the next request, as it is now.")
        return redirect("admin:approvals_rule_change", rule.id)

    def remove_view(self, request: HttpRequest, rule_id: UUID) -> HttpResponse:
        """Delete a rule, by POST only."""
        rule: Rule = self.find(request, rule_id)
        if not self.has_view_permission(request) or not may(request, "delete", Rule):
            raise PermissionDenied
        if request.method != "POST":
            say_nothing_was_done(request)
            return redirect("admin:approvals_rule_change", rule.id)
        self.log_deletions(request, self.get_queryset(request).filter(pk=rule.pk))
        editing.delete(rule.project_id, rule.id, Actor.of_user(request.user))  # type: ignore[arg-type]
        messages.success(request, "The rule was deleted. Requests that were asked under it keep its demands.")
        return redirect("admin:approvals_rule_changelist")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow those who may add rules."""
        return may(request, "add", Rule)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow those who may view rules, and those who may change them."""
        return super().has_view_permission(request, obj) or may(request, "change", Rule)

    def _previewed(
        self, request: HttpRequest, form: RuleForm, rule: Rule | None, project: Any, body: RuleBody
    ) -> HttpResponse:
        editing.check(project, body)
        found = previews.preview(project, previews.unsaved(project, body), PREVIEW_DAYS, actor(request))
        return self._page(request, form, rule, preview=found, days=PREVIEW_DAYS)

    def _page(self, request: HttpRequest, form: RuleForm | None, rule: Rule | None, **more: Any) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": f"Rule {rule.name}" if rule else "New rule",
            "form": form,
            "rule": rule,
            "summary": rule_form.summary(rule) if rule else [],
            "is_everything": rule is not None and rule_form.is_everything(schemas.plain(rule)["match"]),
            "may_delete": rule is not None and may(request, "delete", Rule),
            **more,
        }
        if rule is not None:
            # The answers that it gave in shadow, beside those of people.
            answers = ShadowAnswer.objects.filter(rule=rule.id)
            counts = answers.values("outcome", "approval__status").annotate(number=Count("pk")).order_by("outcome")
            latest = answers.select_related("approval").order_by("-approval__requested_at")[:MOST_LISTED]
            context["shadow_counts"] = [(each["outcome"], each["approval__status"], each["number"]) for each in counts]
            context["shadow_latest"] = list(latest)
        status = 422 if form is not None and form.errors else 200
        return TemplateResponse(request, "admin/approvals/rule/rule.html", context, status=status)
