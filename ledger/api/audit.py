"""`GET audit`: the audit chain of a project, page by page. The exports are in `ledger.api.asgi_routes`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Annotated, Any, ClassVar

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from msgspec import Struct
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

from accounts.permissions import ScopeMap
from accounts.views import ProjectView
from core.web import pages, queries
from core.web.fields import says
from core.web.openapi.values import in_query
from ledger.audit import export

LIMIT, MOST = 100, 500
FURTHEST = 10**18 - 1
#: Each export format, with its media type.
FORMATS = {"jsonl": "application/jsonl", "csv": "text/csv"}
PARAMETERS = [
    in_query("after", {"type": "integer", "minimum": 0, "maximum": FURTHEST}, "The number of your latest row."),
    in_query("limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT}),
    in_query(
        "format",
        {"type": "string", "enum": ["json", *FORMATS], "default": "json"},
        "`jsonl` and `csv` are the whole chain as a file, without `after` and `limit`.",
    ),
]


class AuditRow(Struct, frozen=True):
    """One row of the audit chain. `hash` covers the row and `previous_hash`."""

    number: int
    at: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    previous_hash: str
    hash: str


class AuditPage(Struct, frozen=True):
    results: list[AuditRow]
    next: Annotated[int | None, says("`after` of the next page, if there is one.")]


class OwnFormat(DefaultContentNegotiation):
    """Leaves the parameter `format` to the view: for DRF it would name a renderer, and another format be a 404."""

    settings: Any = SimpleNamespace(URL_FORMAT_OVERRIDE=None)


class AuditView(ProjectView):
    """The project's audit chain, oldest first."""

    content_negotiation_class = OwnFormat
    scopes: ClassVar[ScopeMap] = {"GET": "audit:read"}
    query: ClassVar = {"GET": ("after", "limit", "format")}
    # A file takes neither of them.
    depends: ClassVar = {"GET": ("after", "limit")}
    exports: ClassVar = {"GET": tuple(FORMATS.values())}

    @extend_schema(
        operation_id="audit",
        description="The audit chain by number. With `format`, the whole chain as a file.",
        parameters=PARAMETERS,
        responses={200: AuditPage},
    )
    def get(self, request: Request) -> HttpResponse:
        """Return `{results, next}`. A page also ends at its byte budget."""
        params = request.query_params
        queries.word(params, "format", ("json", *FORMATS))
        number = (queries.whole(params, "after", least=0, most=FURTHEST) or 0) if params.get("after") else 0
        limit = queries.whole(params, "limit", least=1, most=MOST) or LIMIT
        shown: list[msgspec.Raw] = []
        room, more = pages.Room(), False
        for entry in export.after(self.project.pk, number, limit + 1):
            row = msgspec.Raw(export.as_json(entry))
            more = len(shown) == limit or not room.takes(row)
            if more:
                break
            shown.append(row)
            number = entry.number
        body = {"results": shown, "next": number if more else None}
        return HttpResponse(msgspec.json.encode(body), content_type="application/json")
