"""`POST approvals/batch-decide`: many decisions in one call, with a result for each."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import ProjectView
from approvals import permissions, schemas
from approvals.api import asgi_routes
from approvals.decision_validation import Answer
from approvals.life import batches, bodies
from approvals.states import Via
from core.web import request_body


class BatchDecide(ProjectView):
    # As for one decision: the operation checks the right to decide, for each item.
    permission_classes = []
    refuses: ClassVar = {"POST": {403: ("not-an-approver",)}}

    @extend_schema(
        operation_id="approvals_batch_decide",
        request=bodies.ApprovalBatch,
        responses={200: schemas.ApprovalBatchResults},
    )
    def post(self, request: Request) -> Response:
        """Answer up to 100 requests. A body that is not valid decides nothing; after that, no item stops another.

        Each item is refused as `decide` would refuse it, with its own `problem`. Send the same batch again after a lost
        answer: a decision that you have taken already is no refusal.
        """
        asgi_routes.may_look(self.credential)
        permissions.check_decide(self.actor, self.project.pk, Via.REST)
        batch = request_body.convert(request.data, bodies.ApprovalBatch)
        items = [
            batches.Item(
                self.project.pk,
                each.id,
                Answer(
                    decision=each.decision,
                    digest=each.digest,
                    version=each.version,
                    message=each.message,
                    note=each.note,
                ),
            )
            for each in batch.items
        ]
        results = []
        for number, result in enumerate(batches.decide(items, self.actor, Via.REST)):
            approval_id, refusal = str(result.item.approval_id), result.refusal
            if refusal is None:
                results.append(schemas.ApprovalBatchResult(approval_id, 200))
            else:
                problem = refusal.body_of(f"items[{number}]")
                results.append(schemas.ApprovalBatchResult(approval_id, refusal.status, problem))
        return Response(schemas.ApprovalBatchResults(results))
