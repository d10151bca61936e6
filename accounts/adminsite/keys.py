"""API keys in the admin: mint, view and end a key. The token is shown once, in the answer to the POST."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminSplitDateTime
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_variables

from accounts import credentials, effective_scopes, projects, scopes
from accounts.adminsite.permissions import actor
from accounts.adminsite.project_scoped import ProjectFilter, ProjectScopedAdmin
from accounts.models import Credential, CredentialKind, Project, User
from core.adminsite.display import badge
from core.adminsite.model_admins import ReadOnly, may, say_nothing_was_done


class KeyForm(forms.Form):
    """The form for a new key."""

    name = forms.CharField(max_length=200, help_text="The program that uses the key, as lists and audits show it.")
    project = forms.ModelChoiceField(queryset=Project.objects.none())
    scopes = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple)
    expires_at = forms.SplitDateTimeField(
        required=False, widget=AdminSplitDateTime, help_text="UTC. Empty: the key does not expire."
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        project: Any = self.fields["project"]
        project.queryset = projects.visible_to(user)
        if len(project.queryset) == 1:
            project.initial = project.queryset[0]
        choices: Any = self.fields["scopes"]
        choices.choices = [(scope, scope) for scope in scopes.grantable(user)]

    def clean_expires_at(self) -> Any:
        """Refuse a time in the past: the key would never work."""
        moment = self.cleaned_data["expires_at"]
        if moment is not None and moment <= timezone.now():
            raise forms.ValidationError("This time is in the past.")
        return moment


@admin.register(Credential)
class KeyAdmin(ProjectScopedAdmin, ReadOnly):
    """API keys. A child's token has no page: it begins and ends with its attempt."""

    list_display = ("label", "project", "user", "granted", "state", "created_at", "expires_at")
    list_filter = (ProjectFilter,)
    search_fields = ("name", "public_id", "user__username")
    list_select_related = ("project", "user")
    fields = (
        "label",
        "public_id",
        "kind",
        "project",
        "user",
        "granted",
        "state",
        "created_at",
        "expires_at",
        "ended_at",
    )
    readonly_fields = fields
    change_form_template = "admin/accounts/credential/key.html"
    change_list_template = "admin/accounts/credential/keys.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Credential]:
        """Return the keys without child tokens, annotated for their effective scopes."""
        keys = super().get_queryset(request).exclude(kind=CredentialKind.CHILD)
        return effective_scopes.annotated(credentials.dated(keys))

    @admin.display(description="name", ordering="name")
    def label(self, key: Credential) -> str:
        """Return the key's name, or its public id."""
        return key.name or key.public_id

    @admin.display(description="scopes")
    def granted(self, key: Credential) -> str:
        """Return all scopes, and mark the scopes that the owner may no longer use."""
        lost = [scope for scope in key.scopes if scope not in effective_scopes.worth(key)]
        asleep = f" (without effect, because the owner lacks the right: {', '.join(lost)})" if lost else ""
        return (", ".join(key.scopes) or "none") + asleep

    @admin.display(description="state")
    def state(self, key: Credential) -> SafeString:
        """Return *live*, or the reason why the key no longer works."""
        why = effective_scopes.why_dead(key)
        return badge(why) if why else badge("live", "good")

    def get_urls(self) -> list[URLPattern]:
        """Return the stock pages plus *mint* and *end*."""
        urls = [
            path("mint/", self.admin_site.admin_view(self.mint_view), name="accounts_credential_mint"),
            path("<int:key_id>/end/", self.admin_site.admin_view(self.end_view), name="accounts_credential_end"),
        ]
        return [*urls, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list, with the mint button for permitted readers."""
        more = {"may_mint": may(request, "add", Credential)}
        return super().changelist_view(request, {**(extra_context or {}), **more})

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show the key, with the end button for permitted readers."""
        kwargs["extra_context"] = {"may_end": may(request, "change", Credential), **(kwargs.get("extra_context") or {})}
        return super().change_view(request, object_id, *args, **kwargs)

    @method_decorator(sensitive_variables("token"))
    def mint_view(self, request: HttpRequest) -> HttpResponse:
        """GET shows the form. POST mints the key and shows its token once."""
        user: Any = request.user
        if not may(request, "add", Credential):
            raise PermissionDenied
        form = KeyForm(user, request.POST or None)
        if request.method != "POST" or not form.is_valid():
            return self._page(request, "mint", form=form, title="New API key")
        wanted = form.cleaned_data
        key, token = credentials.mint(
            kind=CredentialKind.API,
            project=wanted["project"],
            scopes=wanted["scopes"],
            user=user,
            name=wanted["name"],
            expires_at=wanted["expires_at"],
            actor=actor(request),
        )
        self.log_addition(request, key, f"Minted with {', '.join(key.scopes)}.")
        page = self._page(request, "minted", key=key, token=token, title="Your new API key")
        page.headers["Cache-Control"] = "no-store"
        return page

    def end_view(self, request: HttpRequest, key_id: int) -> HttpResponse:
        """End the key, by POST only."""
        key = self.get_object(request, str(key_id))
        if key is None:
            raise Http404
        if not may(request, "change", Credential):
            raise PermissionDenied
        if request.method == "POST":
            if credentials.end(key.pk, actor(request)):
                self.log_change(request, key, "Ended.")
                self.message_user(request, "The key has ended and no longer works.")
            else:
                self.message_user(request, "The key had already ended.", messages.WARNING)
        else:
            say_nothing_was_done(request)
        return HttpResponseRedirect(reverse("admin:accounts_credential_change", args=[key.pk]))

    def _page(self, request: HttpRequest, name: str, **context: Any) -> TemplateResponse:
        context |= {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, f"admin/accounts/credential/{name}.html", context)
