"""A list of texts as a field of a form, one a line."""

from __future__ import annotations

from typing import Any

from django import forms


class Lines(forms.CharField):
    """A list of texts, one a line."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}), **kwargs)

    def to_python(self, value: Any) -> Any:
        """Return the lines without blanks around them."""
        lines = (line.strip() for line in (super().to_python(value) or "").replace("\r", "").split("\n"))
        return [line for line in lines if line]

    def prepare_value(self, value: Any) -> Any:
        """Show a list as lines."""
        return "\n".join(map(str, value)) if isinstance(value, list) else value
