"""The REST calls of webhooks. All need `webhooks:write`: the URL of a receiver may hold a secret."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.permissions import ScopeMap
from accounts.views import ProjectView
from core.web import pages, problems, queries, request_body
from core.web.openapi import values
from core.web.openapi.values import in_query
from core.web.pages import page
from ledger import models
from ledger.deliveries import lanes
from ledger.models import DeliveryState
from ledger.webhooks import receivers, schemas, trial
from ledger.webhooks.bodies import WebhookNew, WebhookNothing, WebhookSettings

STATE = in_query("state", values.words(DeliveryState.values), "Some of these, comma-separated.")


class ForIntegrators(ProjectView):
    """A call about webhooks of the caller's project."""

    def find(self, webhook_id: UUID) -> models.Webhook:
        """Return one webhook. Raises not-found."""
        found = models.Webhook.objects.filter(project=self.project, pk=webhook_id).first()
        if found is None:
            raise problems.not_found()
        return found


def still(view: ForIntegrators, answer: Any, *args: Any, **kwargs: Any) -> None:
    """Refuse a replay about a webhook that was removed. The secret is not shown again."""
    view.find(UUID(answer["id"]))


class Webhooks(ForIntegrators):
    scopes: ClassVar[ScopeMap] = {"GET": "webhooks:write", "POST": "webhooks:write"}
    query: ClassVar = {"GET": pages.PARAMETERS}
    depends: ClassVar = {"POST": ("url", "after")}
    refuses: ClassVar = {"POST": {429: ("too-many",)}}
    secret: ClassVar = ("POST",)

    @extend_schema(operation_id="webhooks_list", parameters=[*pages.QUERY], responses={200: schemas.WebhookPage})
    def get(self, request: Request) -> Response:
        """List the webhooks of the project, oldest first."""
        rows = models.Webhook.objects.filter(project=self.project)
        found = page(rows, request.query_params, schemas.webhook, key=("created_at", "id"))
        return Response(schemas.WebhookPage(**found))

    @extend_schema(operation_id="webhooks_add", request=WebhookNew, responses={201: schemas.Webhook})
    @idempotent(still, redact=("secret",))
    def post(self, request: Request) -> Response:
        """Add a receiver. The answer shows the secret that signs, once."""
        body = request_body.convert(request.data, WebhookNew)
        row, secret = receivers.create(
            self.project.pk, self.actor, url=body.url, types=body.types or ["*"], name=body.name or "", after=body.after
        )
        return Response(
            schemas.webhook(row, secret=secret), status=201, headers={"Location": f"/api/v1/webhooks/{row.pk}"}
        )


class OneWebhook(ForIntegrators):
    scopes: ClassVar[ScopeMap] = {"GET": "webhooks:write", "PUT": "webhooks:write", "DELETE": "webhooks:write"}
    depends: ClassVar = {"PUT": ("url", "after")}

    @extend_schema(operation_id="webhooks_get", responses={200: schemas.Webhook})
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """Show one, without its secret."""
        return Response(schemas.webhook(self.find(webhook_id)))

    @extend_schema(operation_id="webhooks_change", request=WebhookSettings, responses={200: schemas.Webhook})
    def put(self, request: Request, webhook_id: UUID) -> Response:
        """Replace its settings. Enabled again, it goes on where it stopped."""
        body = request_body.convert(request.data, WebhookSettings)
        row = receivers.change(
            self.find(webhook_id),
            self.actor,
            url=body.url,
            types=body.types,
            name=body.name or "",
            enabled=body.enabled,
            after=body.after,
        )
        return Response(schemas.webhook(row))

    @extend_schema(operation_id="webhooks_remove", responses={204: None})
    def delete(self, request: Request, webhook_id: UUID) -> Response:
        """Remove it, with its deliveries."""
        receivers.remove(self.find(webhook_id), self.actor)
        return Response(status=204)


class TestWebhook(ForIntegrators):
    scopes: ClassVar[ScopeMap] = {"POST": "webhooks:write"}
    refuses: ClassVar = {"POST": {409: ("conflict",)}}

    @extend_schema(operation_id="webhooks_test", request=WebhookNothing, responses={202: schemas.Delivery})
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """Send an event `webhook_test`. Its outcome is among the deliveries."""
        request_body.convert(request.data, WebhookNothing)
        return Response(schemas.delivery(trial.send(self.find(webhook_id))), status=202)


class Rotate(ForIntegrators):
    scopes: ClassVar[ScopeMap] = {"POST": "webhooks:write"}
    secret: ClassVar = ("POST",)

    @extend_schema(operation_id="webhooks_rotate", request=WebhookNothing, responses={200: schemas.Webhook})
    @idempotent(still, redact=("secret",))
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """Make a new secret, which is shown once. For a day, each request has a signature of both."""
        request_body.convert(request.data, WebhookNothing)
        row, secret = receivers.rotate(self.find(webhook_id), self.actor)
        return Response(schemas.webhook(row, secret=secret))


class Deliveries(ForIntegrators):
    scopes: ClassVar[ScopeMap] = {"GET": "webhooks:write"}
    query: ClassVar = {"GET": ("state", *pages.PARAMETERS)}

    @extend_schema(
        operation_id="webhooks_deliveries", parameters=[STATE, *pages.QUERY], responses={200: schemas.DeliveryPage}
    )
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """List the deliveries of a webhook, newest first. Settled ones are kept for 30 days."""
        rows = models.Delivery.objects.filter(webhook=self.find(webhook_id))
        states = queries.words(request.query_params, "state", DeliveryState.values)
        if states is not None:
            rows = rows.filter(state__in=states)
        found = page(rows, request.query_params, schemas.delivery, key=("created_at", "id"), descending=True)
        return Response(schemas.DeliveryPage(**found))


class Redrive(ForIntegrators):
    scopes: ClassVar[ScopeMap] = {"POST": "webhooks:write"}

    @extend_schema(operation_id="deliveries_redrive", request=WebhookNothing, responses={200: schemas.Delivery})
    def post(self, request: Request, delivery_id: UUID) -> Response:
        """Send a delivery again now, with the same `webhook-id`, whatever its state is."""
        request_body.convert(request.data, WebhookNothing)
        rows = models.Delivery.objects.filter(project=self.project, pk=delivery_id).exclude(webhook=None)
        row = rows.first()
        if row is None or not lanes.redrive(row, self.actor):
            raise problems.not_found()
        return Response(schemas.delivery(rows.get()))
