"""The form of one person's own wishes about mails and chat."""

from __future__ import annotations

from typing import Any, ClassVar
from zoneinfo import available_timezones

from django import forms
from django.conf import settings

from approvals.models import NotifyPreference

#: Seconds. A longer wait would hide requests for more than a day.
LONGEST_WAIT = 24 * 3600


class PreferenceForm(forms.ModelForm):
    """`mail`, a chat room if there are any, the wait before a mail, and quiet hours in the person's own zone."""

    batch_secs = forms.IntegerField(
        label="Wait",
        min_value=0,
        max_value=LONGEST_WAIT,
        help_text="Seconds to collect requests before one mail is sent.",
    )

    class Meta:
        model = NotifyPreference
        fields: ClassVar = ["mail", "chat", "settled", "batch_secs", "quiet_from", "quiet_until", "time_zone"]
        widgets: ClassVar = {
            "quiet_from": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
            "quiet_until": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rooms = [(name, name) for name in sorted(settings.CHAT_URLS)]
        self.fields["chat"] = forms.ChoiceField(
            label="Chat room", choices=[("", "none"), *rooms], required=False, help_text="Tell me in this room too."
        )
        if not rooms:
            del self.fields["chat"]

    def clean_time_zone(self) -> str:
        """Return the zone. Raises ValidationError for an unknown one."""
        zone = str(self.cleaned_data["time_zone"])
        if zone not in available_timezones():
            raise forms.ValidationError("There is no time zone of this name. Write it as Europe/Vienna.")
        return zone

    def clean(self) -> dict[str, Any]:
        """Refuse quiet hours with one end only."""
        found: dict[str, Any] = super().clean() or self.cleaned_data
        if (found.get("quiet_from") is None) != (found.get("quiet_until") is None):
            self.add_error("quiet_until", "Quiet hours need both times, or neither.")
        return found
