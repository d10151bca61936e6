"""Django's own errors: what a page or an unknown address is told when something fails."""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse

from accounts.request_head import RequestHead
from core.web import problems
from server.front import answers


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's `handler500`: an outage is a 503 with `Retry-After`, a bug a 500 without a word about it."""
    error = sys.exc_info()[1]
    known = problems.as_problem(error) if isinstance(error, Exception) else None
    problem = known if known is not None and known.status == 503 else problems.internal()
    headers = [(b"accept", request.headers.get("Accept", "").encode("latin-1", "replace"))]
    told = answers.refusal(problem, {"path": request.path}, RequestHead({"headers": headers}))
    return HttpResponse(bytes(told.body), status=told.status_code, headers=dict(told.headers))
