"""`GET schema`: the public OpenAPI document. Each process builds it once, because that takes a second of CPU."""

from __future__ import annotations

import hashlib
import threading
from functools import lru_cache
from typing import Any, ClassVar

from django.http import HttpResponse, HttpResponseBase, JsonResponse
from django.utils.cache import get_conditional_response
from django.utils.encoding import force_bytes
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.views import APIView

from core.web import problems, queries

#: Concurrent callers wait for the build and do not repeat it.
_MAKING = threading.Lock()


class SchemaView(APIView):
    """The document as YAML or JSON, as the caller accepts it; 304 when the caller has it."""

    authentication_classes = []
    permission_classes = []
    renderer_classes = SpectacularAPIView.renderer_classes
    # For an unknown `format`.
    refuses: ClassVar = {"GET": {404: ()}}

    @extend_schema(
        operation_id="schema",
        tags=["schema"],
        parameters=[OpenApiParameter("ETag", str, OpenApiParameter.HEADER, required=True, response=[200])],
        responses={200: {"type": "object"}, 304: OpenApiResponse(description="The caller already has this document.")},
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Return the document, with an ETag."""
        given = [(name, value) for name, values in request.query_params.lists() for value in values]
        queries.check(given, {"format"})
        queries.word(request.query_params, "format", [each.format for each in self.renderer_classes])
        kind = request.accepted_renderer.media_type
        with _MAKING:
            raw, etag = _rendered(kind)
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept"}
        answer = HttpResponse(raw, content_type=f"{kind}; charset=utf-8", headers=headers)
        return get_conditional_response(request._request, etag=etag, response=answer) or answer

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        """Refuse in JSON, for any format of the document."""
        problem = problems.as_problem(exc)
        if problem is None:
            raise exc
        body, status, headers = problem.body(), problem.status, problem.headers
        return JsonResponse(body, status=status, headers=headers, content_type=problems.CONTENT_TYPE)


@lru_cache
def _rendered(media_type: str) -> tuple[bytes, str]:
    """Return the document in this media type, and its ETag."""
    renderer = next(each for each in SchemaView.renderer_classes if each.media_type == media_type)
    raw = force_bytes(renderer().render(_said(), renderer_context={}))
    return raw, f'"{hashlib.sha256(raw).hexdigest()[:32]}"'


@lru_cache
def _said() -> dict[str, object]:
    made: Any = SchemaGenerator()  # type: ignore[no-untyped-call]
    said: dict[str, object] = made.get_schema(request=None, public=True)
    return said
