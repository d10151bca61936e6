"""The REST calls on reviewers. All need `rules:write`: the URL of a reviewer may hold a secret."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.permissions import ScopeMap
from accounts.views import ProjectView
from approvals.review import reviewers, schemas
from approvals.review.bodies import ReviewerBody, ReviewerNothing
from core.web import pages, request_body
from core.web.pages import page

WRITE = "rules:write"


def still(view: ProjectView, answer: Any, *args: Any, **kwargs: Any) -> None:
    """Refuse a replay about a reviewer that was deleted. The secret is not shown again."""
    reviewers.find(view.project.pk, UUID(answer["id"]))


class Reviewers(ProjectView):
    scopes: ClassVar[ScopeMap] = {"GET": WRITE, "POST": WRITE}
    query: ClassVar = {"GET": pages.PARAMETERS}
    depends: ClassVar = {"POST": ("name", "url", "entry_point")}
    refuses: ClassVar = {"POST": {409: ("conflict",), 429: ("too-many",)}}
    secret: ClassVar = ("POST",)

    @extend_schema(operation_id="reviewers_list", parameters=pages.QUERY, responses={200: schemas.ReviewerPage})
    def get(self, request: Request) -> Response:
        """List the reviewers of the project, by name."""
        rows = reviewers.reviewers_of(self.project.pk)
        return Response(schemas.ReviewerPage(**page(rows, request.query_params, schemas.reviewer, key=("name", "id"))))

    @extend_schema(operation_id="reviewers_create", request=ReviewerBody, responses={201: schemas.Reviewer})
    @idempotent(still, redact=("secret",))
    def post(self, request: Request) -> Response:
        """Add a reviewer. For a webhook the answer shows the secret that signs, once."""
        body = request_body.convert(request.data, ReviewerBody)
        row, secret = reviewers.create(self.project.pk, body, self.actor)
        headers = {"Location": f"{request.path}/{row.pk}"}
        return Response(schemas.reviewer(row, secret=secret), status=201, headers=headers)


class OneReviewer(ProjectView):
    scopes: ClassVar[ScopeMap] = {"GET": WRITE, "PUT": WRITE, "DELETE": WRITE}
    depends: ClassVar = {"PUT": ("name", "url", "entry_point")}
    refuses: ClassVar = {"PUT": {409: ("conflict",)}, "DELETE": {409: ("conflict",)}}

    @extend_schema(operation_id="reviewers_get", responses={200: schemas.Reviewer})
    def get(self, request: Request, reviewer_id: UUID) -> Response:
        """Show one reviewer, without its secret."""
        return Response(schemas.reviewer(reviewers.find(self.project.pk, reviewer_id)))

    @extend_schema(operation_id="reviewers_put", request=ReviewerBody, responses={200: schemas.Reviewer})
    def put(self, request: Request, reviewer_id: UUID) -> Response:
        """Replace the settings of a reviewer. It keeps its kind, its secret, and its name while rules name it."""
        reviewers.find(self.project.pk, reviewer_id)
        body = request_body.convert(request.data, ReviewerBody)
        return Response(schemas.reviewer(reviewers.change(self.project.pk, reviewer_id, body, self.actor)))

    @extend_schema(operation_id="reviewers_delete", responses={204: None})
    def delete(self, request: Request, reviewer_id: UUID) -> Response:
        """Delete a reviewer that no rule names. Requests that wait for it go to people at its deadline."""
        reviewers.delete(self.project.pk, reviewer_id, self.actor)
        return Response(status=204)


class Rotate(ProjectView):
    scopes: ClassVar[ScopeMap] = {"POST": WRITE}
    refuses: ClassVar = {"POST": {409: ("conflict",)}}
    secret: ClassVar = ("POST",)

    @extend_schema(operation_id="reviewers_rotate", request=ReviewerNothing, responses={200: schemas.Reviewer})
    @idempotent(still, redact=("secret",))
    def post(self, request: Request, reviewer_id: UUID) -> Response:
        """Make a new secret of a webhook, which is shown once. For a day, each call has a signature of both."""
        request_body.convert(request.data, ReviewerNothing)
        row, secret = reviewers.rotate(self.project.pk, reviewer_id, self.actor)
        return Response(schemas.reviewer(row, secret=secret))
