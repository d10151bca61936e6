"""The ASGI application: sockets, then held and hot calls, then Django.

Django keeps a thread for each request in flight, even an async one; what is held for seconds (waits, event
streams) or called all the time (a keeper's *alive*) is answered by one small Starlette app before it. Both use
the same credential check, validators and verbs.
"""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.core.asgi import get_asgi_application

_django = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402 - apps must be loaded first

from config.held import held_or_django  # noqa: E402
from orchestration.lifespan import lifespan  # noqa: E402
from orchestration.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": held_or_django(_django),
        "websocket": URLRouter(websocket_urlpatterns),
        "lifespan": lifespan,
    }
)
