"""The REST routes of mailbox, under /api/v1/."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
