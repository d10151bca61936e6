"""The REST calls about the outcome of a consumed action: the executor's report, and a person's settlement."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from msgspec import structs
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.views import ProjectView
from approvals import schemas
from approvals.api import replays
from approvals.api.life_views import ForApprovers
from approvals.api.views import still
from approvals.outcomes import bodies, reports, settlement, shapes
from approvals.selectors import find
from core.web import request_body


class Outcome(ProjectView):
    scopes: ClassVar = {"GET": "approvals:read", "POST": "approvals:ask"}
    child_may: ClassVar = {"POST"}
    depends: ClassVar = {"POST": ("outcome", "claim")}
    refuses: ClassVar = {"POST": {404: (), 409: ("not-consumed", "consumed", "already-reported")}}

    @extend_schema(operation_id="approvals_outcome", responses={200: shapes.ApprovalOutcome})
    def get(self, request: Request, approval_id: UUID) -> Response:
        """Show what is known about the run: the reports, the settlement, and the session's events around it."""
        return Response(shapes.outcome(find(self.project.pk, approval_id, self.actor, waiters=False)))

    @extend_schema(
        operation_id="approvals_report_outcome",
        request=bodies.ApprovalOutcomeReport,
        responses={200: schemas.Approval},
    )
    @idempotent(still(replays.reported))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Report how the run of a consumed action ended. For the asker and its executor. Again: the same, or 409."""
        find(self.project.pk, approval_id, self.actor, waiters=False)
        said = structs.asdict(request_body.convert(request.data, bodies.ApprovalOutcomeReport))
        return Response(schemas.approval(reports.report(self.project.pk, approval_id, self.actor, **said), self.actor))


class UnknownOutcome(ForApprovers):
    depends: ClassVar = {"POST": ("settled_as",)}
    refuses: ClassVar = {"POST": {403: ("not-an-approver",), 409: ("not-unknown", "already-settled")}}

    @extend_schema(
        operation_id="approvals_unknown_outcome",
        request=bodies.ApprovalUnknownOutcome,
        responses={200: schemas.Approval},
    )
    @idempotent(still(replays.decided))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Settle an unknown outcome: it ran, or it did not run. Again: the same settlement, or 409."""
        said = self.read(approval_id, bodies.ApprovalUnknownOutcome)
        return self.answer(settlement.settle(self.project.pk, approval_id, self.actor, **said))
