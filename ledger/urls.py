"""The REST routes of ledger, under /api/v1/."""

from django.urls import URLPattern, path

from ledger import api

urlpatterns: list[URLPattern] = [path("feed", api.FeedView.as_view(), name="feed")]
