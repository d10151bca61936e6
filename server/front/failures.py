"""Django's own error answers for pages and unknown addresses."""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse

from accounts.request_head import RequestHead
from core.web import problems
from server.front import answers


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's `handler500`: answer an outage with 503 and `Retry-After`, and a bug with 500 without details."""
    error = sys.exc_info()[1]
    known = problems.as_problem(error) if isinstance(error, Exception) else None
    problem = known if known is not None and known.status == 503 else problems.internal()
    headers = [(b"accept", request.headers.get("Accept", "").encode("latin-1", "replace"))]
    refusal = answers.refusal(problem, {"path": request.path}, RequestHead({"headers": headers}))
    return HttpResponse(bytes(refusal.body), status=refusal.status_code, headers=dict(refusal.headers))
