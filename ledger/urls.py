"""The REST routes of ledger, under /api/v1/."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
