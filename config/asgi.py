"""The ASGI application: the front gate, then sockets, long polls and the fast path, then Django.

Django needs a thread for each running request, even an async one. Calls that last for seconds (long polls, event
streams) or come all the time (a supervisor's *alive*) are answered by a small Starlette app before it. Both use the
same authentication, validators and operations.
"""

from __future__ import annotations

import functools

from config import start
from server import memory

memory.give_back_large_blocks()
start.load_settings()

import django  # noqa: E402 - the settings come first

django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from approvals.review import opening  # noqa: E402 - apps must be loaded first
from config.asgi_routes import finder  # noqa: E402
from ledger.deliveries import waking  # noqa: E402
from orchestration.lifespan import lifespan  # noqa: E402
from orchestration.routing import websocket_urlpatterns  # noqa: E402
from orchestration.sessions import dispatch  # noqa: E402
from server.front.django import DjangoHandler  # noqa: E402
from server.front.gate import Gate  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": Gate(finder(DjangoHandler())),
        "websocket": URLRouter(websocket_urlpatterns),
        "lifespan": functools.partial(
            lifespan,
            background=[
                functools.partial(waking.run, dispatch.wake_senders),
                functools.partial(waking.run, dispatch.wake_reviewers, opening.TOPIC, lambda: True),
            ],
        ),
    }
)
