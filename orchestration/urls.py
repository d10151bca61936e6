"""The REST routes of orchestration, under /api/v1/."""

from django.urls import URLPattern, path

from orchestration.api import actions, events, history, sessions

urlpatterns: list[URLPattern] = [
    path("snapshot", events.SnapshotView.as_view(), name="snapshot"),
    path("sessions", sessions.Sessions.as_view(), name="sessions"),
    path("sessions/<any_uuid:session_id>", sessions.OneSession.as_view(), name="session"),
    path("sessions/<any_uuid:session_id>/tree", sessions.Tree.as_view(), name="session-tree"),
    path("sessions/<any_uuid:session_id>/attempts", sessions.Attempts.as_view(), name="session-attempts"),
    path("sessions/<any_uuid:session_id>/token", actions.Token.as_view(), name="session-token"),
    path("sessions/<any_uuid:session_id>/cancel", actions.Cancel.as_view(), name="session-cancel"),
    path("sessions/<any_uuid:session_id>/retry", actions.Retry.as_view(), name="session-retry"),
    path("sessions/<any_uuid:session_id>/wait", actions.WaitFor.as_view(), name="session-wait"),
    path("sessions/<any_uuid:session_id>/messages", actions.Messages.as_view(), name="session-messages"),
    path("sessions/<any_uuid:session_id>/history", history.History.as_view(), name="session-history"),
    path("sessions/<any_uuid:session_id>/events", events.SessionEventsView.as_view(), name="session-events"),
]
