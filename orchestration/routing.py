"""The sockets of orchestration."""

from typing import Any

websocket_urlpatterns: list[Any] = []
