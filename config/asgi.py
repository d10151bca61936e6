"""The ASGI application: the front door, then sockets, held and hot calls, then Django.

Django keeps a thread for each request in flight, even an async one; what is held for seconds (waits, event
streams) or called all the time (a keeper's *alive*) is answered by one small Starlette app before it. Both use
the same credential check, validators and verbs.
"""

from __future__ import annotations

from typing import Any

from config import start
from server import memory

memory.give_back_large_blocks()
start.load_settings()

from django.core.asgi import get_asgi_application  # noqa: E402 - the settings come first

_django: Any = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402 - apps must be loaded first

from config.held import finder  # noqa: E402
from orchestration.lifespan import lifespan  # noqa: E402
from orchestration.routing import websocket_urlpatterns  # noqa: E402
from server.front.gate import Gate  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": Gate(finder(_django)),
        "websocket": URLRouter(websocket_urlpatterns),
        "lifespan": lifespan,
    }
)
