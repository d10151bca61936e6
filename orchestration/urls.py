"""The REST routes of orchestration, under /api/v1/."""

from django.urls import URLPattern, path

from orchestration.api import api_asking, api_events, api_history, api_sessions, api_steering

urlpatterns: list[URLPattern] = [
    path("snapshot", api_events.SnapshotView.as_view(), name="snapshot"),
    path("sessions", api_sessions.Sessions.as_view(), name="sessions"),
    path("sessions/<any_uuid:session_id>", api_sessions.OneSession.as_view(), name="session"),
    path("sessions/<any_uuid:session_id>/tree", api_sessions.Tree.as_view(), name="session-tree"),
    path("sessions/<any_uuid:session_id>/attempts", api_sessions.Attempts.as_view(), name="session-attempts"),
    path("sessions/<any_uuid:session_id>/token", api_steering.Token.as_view(), name="session-token"),
    path("sessions/<any_uuid:session_id>/cancel", api_steering.Cancel.as_view(), name="session-cancel"),
    path("sessions/<any_uuid:session_id>/retry", api_steering.Retry.as_view(), name="session-retry"),
    path("sessions/<any_uuid:session_id>/wait", api_steering.WaitFor.as_view(), name="session-wait"),
    path("sessions/<any_uuid:session_id>/messages", api_steering.Messages.as_view(), name="session-messages"),
    path("sessions/<any_uuid:session_id>/ask", api_asking.Ask.as_view(), name="session-ask"),
    path("sessions/<any_uuid:session_id>/asks/<path:ask_id>", api_asking.OneAsk.as_view(), name="session-asked"),
    path("sessions/<any_uuid:session_id>/history", api_history.History.as_view(), name="session-history"),
    path("sessions/<any_uuid:session_id>/events", api_events.SessionEventsView.as_view(), name="session-events"),
]
