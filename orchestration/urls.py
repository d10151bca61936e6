"""The REST routes of orchestration, under /api/v1/."""

from django.urls import URLPattern, path

from orchestration import api_events

urlpatterns: list[URLPattern] = [
    path("sessions/<uuid:session_id>/events", api_events.SessionEventsView.as_view(), name="session-events"),
]
