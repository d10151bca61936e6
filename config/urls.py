"""Every address that Django answers. Sockets and long polls are mounted before it, in `config.asgi`."""

from typing import NoReturn
from uuid import UUID

from django.contrib import admin
from django.http import Http404, HttpRequest, JsonResponse
from django.urls import Resolver404, URLPattern, URLResolver, include, path, re_path, resolve
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView

from config.schema import SchemaView
from core.web import problems
from core.web.paths import uuid_of
from ledger.api.keys import well_known

ANY_ID = UUID(int=0)
#: No address with an id before its end has more parts: a long path costs no more than a short one.
MOST_PARTS = 8


@csrf_exempt  # a program that posts to the wrong address needs this answer, not a CSRF error
def nothing_here(request: HttpRequest) -> JsonResponse:
    """Answer 404 for programs: a problem document, not an HTML page. It tells the cure of a malformed id."""
    about = "An id in an address must be a UUID, as 123e4567-e89b-12d3-a456-426614174000."
    nothing = "There is nothing at this address."
    problem = problems.not_found(f"{nothing} {about}" if _has_malformed_id(request.path) else nothing)
    return JsonResponse(problem.body(), status=problem.status, content_type=problems.CONTENT_TYPE)


def _has_malformed_id(path: str) -> bool:
    """Return True if a view takes an id where this path has other text."""
    parts = path.split("/")[: MOST_PARTS + 1]
    for number, part in enumerate(parts):
        if not part or uuid_of(part):
            continue
        try:
            found = resolve("/".join([*parts[:number], str(ANY_ID)]))
        except Resolver404:
            continue
        if ANY_ID in found.kwargs.values():
            return True
    return False


def no_such_page(request: HttpRequest, **_: str) -> NoReturn:
    """Answer 404 for the admin's *view on site*: no row of ours has a page of its own there."""
    raise Http404


api: list[URLPattern | URLResolver] = [
    path("schema", SchemaView.as_view(), name="schema"),
    path("", include("accounts.urls")),
    path("", include("ledger.urls")),
    path("", include("mailbox.urls")),
    path("", include("approvals.urls")),
    path("", include("orchestration.urls")),
]

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("api/v1/", include(api)),
    re_path(r"^api/", nothing_here),
    path(".well-known/wardroom.json", well_known),
    path("admin/r/<path:content_type_id>/<path:object_id>/", admin.site.admin_view(no_such_page)),
    path("admin/", admin.site.urls),
]
handler500 = "server.front.failures.server_error"
