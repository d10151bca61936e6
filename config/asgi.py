"""The ASGI application: the front gate, then sockets, long polls and the fast path, then Django.

Django needs a thread for each running request, even an async one. Calls that last for seconds (long polls, event
streams) or come all the time (a supervisor's *alive*) are answered by a small Starlette app before it. Both use the
same authentication, validators and operations.
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

from config.asgi_routes import finder  # noqa: E402
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
