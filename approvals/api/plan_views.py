"""The REST calls of plans. A plan is asked for by `POST approvals` with `plan`, and made by its approval."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.views import ProjectView
from approvals import permissions
from approvals.grants import selectors as states
from approvals.plans import endings, schemas, selectors
from approvals.states import Via
from core.web import pages, queries, request_body
from core.web.openapi import values
from core.web.openapi.values import in_query
from core.web.pages import page

FILTERS = [
    in_query("state", values.words(states.STATES), "Some of these, comma-separated."),
    in_query("session", {"type": "string", "format": "uuid"}, "Of this session."),
]


class Plans(ProjectView):
    scopes: ClassVar = {"GET": "approvals:read"}
    query: ClassVar = {"GET": (*(each.name for each in FILTERS), *pages.PARAMETERS)}

    @extend_schema(
        operation_id="plans_list", parameters=[*FILTERS, *pages.QUERY], responses={200: schemas.ApprovalPlanPage}
    )
    def get(self, request: Request) -> Response:
        """List approved plans, the newest first."""
        wanted = queries.words(request.query_params, "state", states.STATES)
        session = queries.uuid(request.query_params, "session")
        rows = selectors.of(self.project.pk)
        rows = rows if wanted is None else rows.filter(states.being(wanted))
        rows = rows if session is None else rows.filter(session=session)
        found = page(rows, request.query_params, schemas.plan, key=("granted_at", "id"), descending=True)
        return Response(schemas.ApprovalPlanPage(**found))


class OnePlan(ProjectView):
    scopes: ClassVar = {"GET": "approvals:read"}

    @extend_schema(operation_id="plans_get", responses={200: schemas.ApprovalPlan})
    def get(self, request: Request, plan_id: UUID) -> Response:
        """Show one approved plan with the calls of each step, used and left."""
        return Response(schemas.plan(selectors.find(self.project.pk, plan_id)))


class RevokePlan(ProjectView):
    scopes: ClassVar = {"POST": "approvals:decide"}
    refuses: ClassVar = {"POST": {403: ("not-an-approver",), 404: ()}}

    @extend_schema(operation_id="plans_revoke", request=schemas.PlanRevocation, responses={200: schemas.ApprovalPlan})
    @idempotent(lambda view, answer, plan_id: permissions.check_decide(view.actor, view.project.pk, Via.REST))
    def post(self, request: Request, plan_id: UUID) -> Response:
        """End it now: after this answer no call passes by it. Again, or after its end, nothing changes."""
        request_body.convert(request.data, schemas.PlanRevocation)
        return Response(schemas.plan(endings.revoke(self.project.pk, plan_id, self.actor)))
