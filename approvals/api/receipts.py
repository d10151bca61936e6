"""`GET approvals/{id}/receipt`."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import ProjectView
from approvals import receipts, schemas
from approvals.api import asgi_routes


class Receipt(ProjectView):
    # One of several scopes is enough, as for the approval itself.
    permission_classes = []
    refuses: ClassVar = {"GET": {409: ("not-settled",)}}

    @extend_schema(operation_id="approvals_receipt", responses={200: schemas.ApprovalReceipt})
    def get(self, request: Request, approval_id: UUID) -> Response:
        """Return a signed statement of the decision and the consumption. `python -m wardroom.verify` checks it."""
        asgi_routes.may_look(self.credential, child=False)
        return Response(receipts.receipt(self.project.pk, approval_id, self.actor))
