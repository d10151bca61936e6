"""The REST calls of quarantine."""

from __future__ import annotations

import json
from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import ScopeMap
from accounts.views import ProjectView
from core.web import pages, problems, queries, request_body
from core.web.pages import page
from mailbox import quarantine, schemas
from mailbox.api import bodies, parameters
from mailbox.models import Quarantined
from mailbox.states import QUARANTINE_SOURCES, QuarantineState


class Quarantine(ProjectView):
    scopes: ClassVar[ScopeMap] = {"GET": "quarantine:read"}
    query: ClassVar = {"GET": ("state", "source", "address", *pages.PARAMETERS)}

    @extend_schema(
        operation_id="quarantine_list",
        parameters=[*parameters.QUARANTINE_FILTERS, *pages.QUERY],
        responses={200: schemas.QuarantinePage},
    )
    def get(self, request: Request) -> Response:
        """List the messages that could not be read or handled, oldest first."""
        params = request.query_params
        filters = {
            "state": queries.word(params, "state", QuarantineState.values),
            "source": queries.word(params, "source", QUARANTINE_SOURCES),
            "address": queries.text(params, "address"),
        }
        given = {name: value for name, value in filters.items() if value is not None}
        rows = Quarantined.objects.with_preview(schemas.PREVIEW_BYTES).filter(project=self.project, **given)
        return Response(schemas.QuarantinePage(**page(rows, params, schemas.quarantined, key=("created_at", "id"))))


class OneQuarantined(ProjectView):
    scopes: ClassVar[ScopeMap] = {"GET": "quarantine:read"}

    @extend_schema(
        operation_id="quarantine_get",
        responses={200: schemas.Quarantined},
    )
    def get(self, request: Request, quarantine_id: UUID) -> Response:
        """Show one, with all its bytes."""
        row = Quarantined.objects.filter(project=self.project, pk=quarantine_id).first()
        if row is None:
            raise problems.not_found()
        return Response(schemas.quarantined(row, whole=True))


class Requeue(ProjectView):
    depends: ClassVar = {"POST": ("message", "address")}
    scopes: ClassVar[ScopeMap] = {"POST": "quarantine:write"}
    refuses: ClassVar = {"POST": {403: ("reserved-address",), 409: ("conflict",)}}

    @extend_schema(
        operation_id="quarantine_requeue",
        request=bodies.QuarantineRequeue,
        responses={200: schemas.Quarantined},
    )
    def post(self, request: Request, quarantine_id: UUID) -> Response:
        """Validate it again, as stored or as edited, and deliver it to its mailbox with its own id. A repeat changes
        nothing.
        """
        body = request_body.convert(request.data, bodies.QuarantineRequeue)
        raw = None if body.message is None else json.dumps(body.message).encode()
        row = quarantine.requeue(quarantine_id, self.actor, raw, address=body.address, project_id=self.project.pk)
        return Response(schemas.quarantined(row))


class Discard(ProjectView):
    scopes: ClassVar[ScopeMap] = {"POST": "quarantine:write"}
    refuses: ClassVar = {"POST": {409: ("conflict",)}}

    @extend_schema(
        operation_id="quarantine_discard",
        request=bodies.QuarantineDiscard,
        responses={200: schemas.Quarantined},
    )
    def post(self, request: Request, quarantine_id: UUID) -> Response:
        """Discard it for good, with a note that says why."""
        body = request_body.convert(request.data, bodies.QuarantineDiscard)
        row = quarantine.discard(quarantine_id, self.actor, body.note, project_id=self.project.pk)
        return Response(schemas.quarantined(row))
