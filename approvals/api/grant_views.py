"""The REST calls of grants. A grant is born from `POST approvals/{id}/decide` with `remember`."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.views import ProjectView
from approvals import permissions
from approvals.grants import endings, schemas, selectors
from approvals.states import GrantScope, Via
from core.web import pages, queries, request_body
from core.web.openapi import values
from core.web.openapi.values import in_query
from core.web.pages import page

FILTERS = [
    in_query("state", values.words(selectors.STATES), "Some of these, comma-separated."),
    in_query("scope", values.words(GrantScope.values), "Some of these, comma-separated."),
    in_query("session", {"type": "string", "format": "uuid"}, "Born from a request of this session."),
    in_query("tool", values.text(), "For this tool."),
]


class Grants(ProjectView):
    scopes: ClassVar = {"GET": "approvals:read"}
    query: ClassVar = {"GET": (*(each.name for each in FILTERS), *pages.PARAMETERS)}

    @extend_schema(
        operation_id="grants_list", parameters=[*FILTERS, *pages.QUERY], responses={200: schemas.ApprovalGrantPage}
    )
    def get(self, request: Request) -> Response:
        """List grants, the newest first."""
        params, rows = request.query_params, selectors.of(self.project.pk)
        states = queries.words(params, "state", selectors.STATES)
        if states is not None:
            rows = rows.filter(selectors.being(states))
        equal = {
            "scope__in": queries.words(params, "scope", GrantScope.values),
            "session": queries.uuid(params, "session"),
            "tool_name": queries.text(params, "tool"),
        }
        rows = rows.filter(**{name: value for name, value in equal.items() if value is not None})
        found = page(rows, params, schemas.grant, key=("granted_at", "id"), descending=True)
        return Response(schemas.ApprovalGrantPage(**found))


class OneGrant(ProjectView):
    scopes: ClassVar = {"GET": "approvals:read"}

    @extend_schema(operation_id="grants_get", responses={200: schemas.ApprovalGrant})
    def get(self, request: Request, grant_id: UUID) -> Response:
        """Show one grant."""
        return Response(schemas.grant(selectors.find(self.project.pk, grant_id)))


class Revoke(ProjectView):
    scopes: ClassVar = {"POST": "approvals:decide"}
    refuses: ClassVar = {"POST": {403: ("not-an-approver",), 404: ()}}

    @extend_schema(
        operation_id="grants_revoke", request=schemas.GrantRevocation, responses={200: schemas.ApprovalGrant}
    )
    @idempotent(lambda view, answer, grant_id: permissions.check_decide(view.actor, view.project.pk, Via.REST))
    def post(self, request: Request, grant_id: UUID) -> Response:
        """End it now: after this answer nothing passes by it. Again, or after its end, nothing changes."""
        request_body.convert(request.data, schemas.GrantRevocation)
        return Response(schemas.grant(endings.revoke(self.project.pk, grant_id, self.actor)))
