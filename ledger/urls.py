"""The REST routes of ledger, under /api/v1/."""

from django.urls import URLPattern, path

from ledger.api import feed

urlpatterns: list[URLPattern] = [path("feed", feed.FeedView.as_view(), name="feed")]
