"""Forms of pages whose values an operation checks, as those of a call by REST. Its refusals come back to the fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django import forms
from django.http import HttpRequest

from core.web import problems, request_body
from core.web.fields import Body

Said = TypeVar("Said", bound=Body)
Row = TypeVar("Row")


class BodyForm(forms.Form):
    """A form that makes the body of a call."""

    def converted(self, said: Mapping[str, Any], kind: type[Said]) -> Said | None:
        """Return the body. Otherwise the form has errors now, and the answer is None."""
        try:
            return request_body.convert(said, kind)
        except problems.Problem as refusal:
            self.refuse(refusal)
            return None

    def refuse(self, refusal: problems.Problem) -> None:
        """Show a refusal at the fields that it is about."""
        for error in refusal.extra.get("errors") or [{"field": "", "detail": refusal.detail}]:
            name = self.field_of(error["field"])
            self.add_error(name if name in self.fields else None, error["detail"])

    def field_of(self, path: str) -> str:
        """Return the field for a path in the body."""
        return path.partition("[")[0]


def saved(
    request: HttpRequest, form: BodyForm, read: Callable[[], Said | None], save: Callable[[Said], Row]
) -> Row | None:
    """Return the answer of `save` for a posted body. None: nothing was posted, or the form has the errors now."""
    body = read() if request.method == "POST" else None
    if body is None:
        return None
    try:
        return save(body)
    except problems.Problem as refusal:
        form.refuse(refusal)
        return None
