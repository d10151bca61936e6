"""The form of a webhook. Its values are checked as those of a call by REST, and the errors come back to its fields."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from accounts import projects
from accounts.models import Project, User
from core.adminsite.forms import BodyForm, Said
from core.adminsite.lines import Lines
from core.display.text import visible
from ledger.models import Webhook
from ledger.webhooks.bodies import LONGEST_NAME, WebhookNew, WebhookSettings

SHOWN_TO = "It is shown only to people who may change webhooks."


class WebhookForm(BodyForm):
    """A new webhook chooses its project. A stored one can be switched off."""

    project = forms.ModelChoiceField(queryset=Project.objects.none())
    name = forms.CharField(required=False, max_length=LONGEST_NAME, help_text="For lists and audits.")
    url = forms.CharField(
        label="URL",
        widget=forms.TextInput(attrs={"class": "vLargeTextField", "spellcheck": "false", "inputmode": "url"}),
        help_text=f"https, a public host, port 443 or 8443. {SHOWN_TO}",
    )
    types = Lines(
        label="Events",
        help_text="Types of Wardroom's own events, one a line; * stands for any text: approval_*. Empty: all of them.",
    )
    enabled = forms.BooleanField(
        required=False, help_text="Switched off, nothing is sent, and events wait in the feed for 30 days."
    )

    def __init__(self, user: User, *args: Any, webhook: Webhook | None = None, **kwargs: Any) -> None:
        if webhook is not None:
            stored = {"name": visible(webhook.name), "url": visible(webhook.url), "enabled": webhook.disabled is None}
            kwargs["initial"] = stored | {"types": [visible(each) for each in webhook.types]}
        super().__init__(*args, **kwargs)
        if settings.WEBHOOKS_PRIVATE:
            self.fields["url"].help_text = f"https or http, any host but link-local ones, any port. {SHOWN_TO}"
        if webhook is not None:
            del self.fields["project"]
            return
        del self.fields["enabled"]
        chosen: Any = self.fields["project"]
        chosen.queryset = projects.visible_to(user)
        if len(chosen.queryset) == 1:
            chosen.initial = chosen.queryset[0]

    def new(self) -> WebhookNew | None:
        """Return the body of a new webhook. Otherwise the form has errors now, and the answer is None."""
        return self._body(WebhookNew)

    def settings(self) -> WebhookSettings | None:
        """Return the body of a changed webhook, or None as `new` does."""
        return self._body(WebhookSettings)

    def _body(self, kind: type[Said]) -> Said | None:
        if not self.is_valid():
            return None
        said = {name: value for name, value in self.cleaned_data.items() if name != "project"}
        said |= {"name": said["name"] or None, "types": said["types"] or ["*"]}
        return self.converted(said, kind)
