"""The REST calls of approvals. Each calls one operation; `wait` is in `approvals.api.asgi_routes`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Actor
from accounts.idempotency import Still, idempotent
from accounts.views import ProjectView
from approvals import consumption, decisions, fallbacks, permissions, requests, schemas
from approvals.api import asgi_routes, bodies, filters, parameters, replays
from approvals.bodies import ApprovalAnswer, ApprovalAsk, ApprovalConsumption, ApprovalFallback, ApprovalWithdrawal
from approvals.display import copies, revealing
from approvals.json_schema.shapes import ApprovalToolSchema
from approvals.selectors import find, seen_by
from approvals.states import Fallback
from core.web import pages, request_body
from core.web.pages import page


def still(replay: Callable[[Any, UUID, Actor], None]) -> Still:
    """Return the check of a replayed call about one approval."""

    def check(view: ProjectView, answer: Any, approval_id: UUID) -> None:
        replay(view.project.pk, approval_id, view.actor)

    return check


class Approvals(ProjectView):
    scopes: ClassVar = {"GET": "approvals:read", "POST": "approvals:ask"}
    child_may: ClassVar = {"POST"}
    refuses: ClassVar = {"POST": {404: (), 409: ("conflict", "not-running")}}
    query: ClassVar = {"GET": (*parameters.FILTER_NAMES, *pages.PARAMETERS)}

    @extend_schema(
        operation_id="approvals_list",
        parameters=[*parameters.FILTERS, *pages.QUERY],
        responses={200: schemas.ApprovalPage},
    )
    def get(self, request: Request) -> Response:
        """List approvals, oldest first."""
        rows = filters.listing(self.project.pk, request.query_params, self.actor)
        actor = self.actor
        found = page(rows, request.query_params, lambda row: schemas.approval(row, actor), key=("requested_at", "id"))
        return Response(schemas.ApprovalPage(**found))

    @extend_schema(
        operation_id="approvals_ask",
        request=ApprovalAsk,
        responses={202: schemas.Approval},
    )
    @idempotent(still=lambda view, answer: replays.asked(view.project.pk, UUID(answer["id"]), view.actor))
    def post(self, request: Request) -> Response:
        """Ask whether an action may run. The same `request_id` with the same body is the same request."""
        asked = bodies.ask(request.data, self.project.pk, self.actor)
        approval, _ = requests.ask(self.project.pk, asked, actor=self.actor, via="rest")
        location = f"{request.path}/{approval.id}"
        return Response(schemas.approval(approval, self.actor), status=202, headers={"Location": location})


class ApprovalCount(ProjectView):
    scopes: ClassVar = {"GET": "approvals:read"}
    query: ClassVar = {"GET": parameters.FILTER_NAMES}

    @extend_schema(
        operation_id="approvals_count",
        parameters=parameters.FILTERS,
        responses={200: schemas.ApprovalCounts},
    )
    def get(self, request: Request) -> Response:
        """Count approvals in each state."""
        rows = filters.filtered(seen_by(self.project.pk, self.actor), request.query_params, self.actor)
        return Response(filters.counts(rows))


class OneApproval(ProjectView):
    # One of several scopes is enough; the map of scopes cannot express that.
    permission_classes = []

    @extend_schema(
        operation_id="approvals_get",
        responses={200: schemas.Approval},
    )
    def get(self, request: Request, approval_id: UUID) -> Response:
        """Show one approval. The asker may read its own; other callers need the scope approvals:read."""
        asgi_routes.may_look(self.credential, child=False)
        return Response(schemas.approval(find(self.project.pk, approval_id, self.actor), self.actor))


class ToolSchema(ProjectView):
    # As for the request itself.
    permission_classes = []

    @extend_schema(operation_id="approvals_tool_schema", responses={200: ApprovalToolSchema})
    def get(self, request: Request, approval_id: UUID) -> Response:
        """Show the JSON Schema that an edit must fit; null without one."""
        asgi_routes.may_look(self.credential)
        approval = find(self.project.pk, approval_id, self.actor, waiters=False)
        found = approval.tool_schema.schema if approval.has_tool_schema else None
        is_raw = permissions.owns(approval, self.actor)
        return Response(ApprovalToolSchema(found if is_raw else copies.schema(found)))


class Decide(ProjectView):
    depends: ClassVar = {"POST": ("decision",)}
    # The operation checks the right to decide: a caller that may not see the approval must get 404, not 403.
    permission_classes = []
    refuses: ClassVar = {
        "POST": {
            403: ("not-an-approver", "self-approval"),
            409: ("already-decided", "digest-mismatch", "version-conflict"),
            410: ("expired",),
        }
    }

    @extend_schema(
        operation_id="approvals_decide",
        request=ApprovalAnswer,
        responses={200: schemas.Approval},
    )
    @idempotent(still(replays.decided))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Answer it: approve, deny, edit (approve other arguments) or respond (answer a question)."""
        asgi_routes.may_look(self.credential)
        answer = bodies.answer(request.data)
        approval = decisions.decide(self.project.pk, approval_id, answer, self.actor, "rest")
        return Response(schemas.approval(approval, self.actor))


class Reveal(ProjectView):
    scopes: ClassVar = {"POST": "approvals:reveal"}
    secret: ClassVar = ("POST",)
    refuses: ClassVar = {"POST": {404: ()}}

    @extend_schema(operation_id="approvals_reveal", request=None, responses={200: schemas.ApprovalRevealed})
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Show the values that other answers hide. Each call is an audit row."""
        return Response(schemas.revealed(revealing.reveal(self.project.pk, approval_id, self.actor)))


class Withdraw(ProjectView):
    scopes: ClassVar = {"POST": "approvals:ask"}
    child_may: ClassVar = {"POST"}
    refuses: ClassVar = {"POST": {409: ("already-decided",), 410: ("expired",)}}

    @extend_schema(
        operation_id="approvals_withdraw",
        request=ApprovalWithdrawal,
        responses={200: schemas.Approval},
    )
    @idempotent(still(replays.withdrawn))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Withdraw a request that nobody needs any more. Allowed to the asker and to callers that may answer."""
        find(self.project.pk, approval_id, self.actor)  # A caller that may not see it gets 404 before the body is read.
        reason = bodies.words(request.data, ApprovalWithdrawal)["reason"]
        withdrawn = decisions.withdraw(self.project.pk, approval_id, self.actor, reason)
        return Response(schemas.approval(withdrawn, self.actor))


class Consume(ProjectView):
    scopes: ClassVar = {"POST": "approvals:ask"}
    child_may: ClassVar = {"POST"}
    refuses: ClassVar = {
        "POST": {409: ("digest-mismatch", "not-approved", "stale", "consumed", "policy-changed", "not-running")}
    }

    @extend_schema(
        operation_id="approvals_consume",
        request=ApprovalConsumption,
        responses={200: schemas.Approval},
    )
    @idempotent(still(replays.consumed))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Take its one execution, right before running this exact action. For the asker and callers that may answer."""
        find(self.project.pk, approval_id, self.actor)
        words = bodies.words(request.data, ApprovalConsumption)
        taken = consumption.consume(self.project.pk, approval_id, actor=self.actor, **words)
        # Who may take the execution gets what runs. What a person took out of it stays hidden.
        return Response(schemas.approval(taken, self.actor, runs=True))


class RecordFallback(ProjectView):
    scopes: ClassVar = {"POST": "approvals:ask"}
    child_may: ClassVar = {"POST"}
    refuses: ClassVar = {"POST": {409: ("already-decided", "conflict")}}

    @extend_schema(
        operation_id="approvals_fallback",
        request=ApprovalFallback,
        responses={200: schemas.Approval},
    )
    @idempotent(still(replays.fallen_back))
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Record what the asker did when nobody answered in time. It is no decision, and the request stays pending."""
        find(self.project.pk, approval_id, self.actor)
        action = Fallback(request_body.convert(request.data, ApprovalFallback).action)
        recorded = fallbacks.record(self.project.pk, approval_id, action, self.actor)
        return Response(schemas.approval(recorded, self.actor))
