"""Every address that Django answers. Sockets and long polls are mounted before it, in `config.asgi`."""

from typing import NoReturn

from django.contrib import admin
from django.http import Http404, HttpRequest, JsonResponse
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView

from config.schema import SchemaView
from core.web import problems


@csrf_exempt  # a program that posts to the wrong address needs this answer, not a CSRF error
def nothing_here(request: HttpRequest) -> JsonResponse:
    """Answer 404 for programs: a problem document, not an HTML page."""
    problem = problems.not_found("There is nothing at this address.")
    return JsonResponse(problem.body(), status=problem.status, content_type=problems.CONTENT_TYPE)


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
    path("admin/r/<path:content_type_id>/<path:object_id>/", admin.site.admin_view(no_such_page)),
    path("admin/", admin.site.urls),
]
handler500 = "server.front.failures.server_error"
