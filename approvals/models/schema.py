"""The JSON Schema of the tool of a request."""

from __future__ import annotations

from django.db import models

from approvals.models.approval import Approval
from core.db.fields import JSONText


class ToolSchema(models.Model):
    """The schema that the arguments of a request must fit, edited or not.

    It is apart from the request: only an edit reads it, and every list would carry it along.
    """

    approval = models.OneToOneField(Approval, on_delete=models.CASCADE, primary_key=True, related_name="tool_schema")
    schema = JSONText()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"the schema of {self.approval_id}"
