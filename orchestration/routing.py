"""The sockets of orchestration."""

from typing import Any

from django.urls import re_path

from orchestration.connections.consumer import ChildConsumer

# Any other address is answered too, with a close code that says that there is nothing: after the token is judged.
websocket_urlpatterns: list[Any] = [
    re_path(r"^ws/children/(?P<session_id>[^/]+)$", ChildConsumer.as_asgi()),
    re_path(r"", ChildConsumer.as_asgi()),
]
