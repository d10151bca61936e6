"""The WebSocket routes of orchestration."""

from typing import Any

from django.urls import re_path

from orchestration.connections.consumer import ChildConsumer

# Any other address gets a "not found" close code, after its token is checked.
websocket_urlpatterns: list[Any] = [
    re_path(r"^ws/children/(?P<session_id>[^/]+)$", ChildConsumer.as_asgi()),
    re_path(r"", ChildConsumer.as_asgi()),
]
