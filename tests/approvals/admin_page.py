"""Staff at the admin: the page of a request, its buttons, and its text."""

from __future__ import annotations

from typing import Any

from django.test import Client
from django.urls import reverse

from approvals.models import Approval


def page_of(approval: Approval) -> str:
    return reverse("admin:approvals_approval_change", args=[approval.id])


def press(client: Client, approval: Approval, decision: str, **form: Any) -> Any:
    form = {"decision": decision, "version": approval.version, "digest": approval.digest} | form
    return client.post(reverse("admin:approvals_approval_decide", args=[approval.id]), form)


def text_of(response: Any) -> str:
    return str(response.content.decode())
