"""Refusals of the front gate: a problem document for programs and REST, a page for browsers elsewhere."""

from __future__ import annotations

from html import escape

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Scope

from accounts.request_head import RequestHead
from core.web.problems import CONTENT_TYPE, Problem

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title} | Wardroom</title></head>
<body><h1>{title}</h1><p>{detail}</p><p><a href="/admin/">Wardroom</a></p></body></html>
"""


def refusal(problem: Problem, scope: Scope, head: RequestHead) -> Response:
    """Return the answer for this caller."""
    payload = problem.body()
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **problem.headers}
    if head.wants_a_page and not scope["path"].startswith("/api/"):
        page = PAGE.format(title=escape(payload["title"]), detail=escape(problem.detail))
        return HTMLResponse(page, problem.status, headers)
    return JSONResponse(payload, problem.status, headers, media_type=CONTENT_TYPE)
