"""Every address that Django answers. Sockets and held calls are mounted before it, in `config.asgi`."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView

api: list[URLPattern | URLResolver] = [
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("", include("accounts.urls")),
    path("", include("ledger.urls")),
    path("", include("mailbox.urls")),
    path("", include("approvals.urls")),
    path("", include("orchestration.urls")),
]

urlpatterns = [
    path("api/v1/", include(api)),
    path("admin/", admin.site.urls),
]
