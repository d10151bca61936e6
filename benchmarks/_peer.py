"""The peer of benchmarks.rest and benchmarks.approvals: plain DRF views with token authentication.

A post is one `create()` of a message, a get is one query of approvals.

It has one middleware, no serializer and no validation, and it keeps its database connection.
"""

from __future__ import annotations

import hashlib
import json
import os
from itertools import count
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks._peer_settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django.urls import path  # noqa: E402 - apps must be loaded first
from django.utils import timezone  # noqa: E402
from rest_framework.authentication import TokenAuthentication  # noqa: E402
from rest_framework.parsers import JSONParser  # noqa: E402
from rest_framework.permissions import IsAuthenticated  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from approvals.models import Approval  # noqa: E402
from mailbox.models import Address, Message  # noqa: E402

_seq = count(10**9 * os.getpid())  # The processes of the peer share the table.


class Create(APIView):
    authentication_classes = [TokenAuthentication]
    permission_classes = [IsAuthenticated]
    parser_classes = [JSONParser]

    def post(self, request: Request) -> Response:
        now = timezone.now()
        body = json.dumps(request.data["body"])
        row = Message.objects.create(
            **_place(),
            seq=next(_seq),
            message_id=request.data["id"],
            message_kind=request.data["message_kind"],
            body_text=body,
            content_hash=hashlib.sha256(body.encode()).hexdigest(),
            created_at=now,
            received_at=now,
        )
        return Response({"id": row.message_id, "seq": row.seq}, status=201)


_placed: dict[str, Any] = {}


def _place() -> dict[str, Any]:
    if not _placed:
        address = Address.objects.get(name="peer")
        _placed.update(project_id=address.project_id, address_id=address.pk)
    return _placed


class Read(APIView):
    """One row or the pending ones, each by one query, as a dict of its columns."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [IsAuthenticated]

    def get(self, request: Request, pk: str | None = None) -> Response:
        if pk is not None:
            return Response(_columns(Approval.objects.get(pk=pk)))
        pending = Approval.objects.filter(status=request.query_params["status"]).order_by("requested_at", "id")
        return Response({"results": [_columns(row) for row in pending[:50]]})


_COLUMNS = [field.attname for field in Approval._meta.concrete_fields]


def _columns(row: Approval) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _COLUMNS}


urlpatterns = [
    path("create", Create.as_view()),
    path("approvals", Read.as_view()),
    path("approvals/<uuid:pk>", Read.as_view()),
]
