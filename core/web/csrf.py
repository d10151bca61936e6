"""CSRF tokens for pages that stay open long, and the page for a request refused because of its token."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

ANSWER_HEADER = "X-CSRFToken"


class FreshToken:
    """Middleware: send the token of the current login to a page that updates itself.

    A login in another tab makes a new token. Forms rendered before it would be refused.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = self.get_response(request)
        user = getattr(request, "user", None)
        if request.headers.get("X-Requested-With") == "live" and user is not None and user.is_authenticated:
            answer[ANSWER_HEADER] = get_token(request)
        return answer


def refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer 403: say that nothing was done, and link back to the page of the form."""
    came_from = request.headers.get("Referer", "")
    here = {request.get_host()}
    safe = url_has_allowed_host_and_scheme(came_from, allowed_hosts=here, require_https=request.is_secure())
    context = {"title": "Nothing was done", "back": came_from if safe else "/admin/"}
    return render(request, "admin/csrf_refused.html", context, status=403)
