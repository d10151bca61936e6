"""The REST routes of ledger, under /api/v1/."""

from django.urls import URLPattern, path

from ledger.api import audit, feed

urlpatterns: list[URLPattern] = [
    path("audit", audit.AuditView.as_view(), name="audit"),
    path("feed", feed.FeedView.as_view(), name="feed"),
]
