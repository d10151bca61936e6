"""A receiver of webhooks on this host, with the answers that a test chooses."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook as Verifier

from core.db.clock import database_now
from ledger.deliveries import round
from ledger.models import Delivery, Lane

Got = tuple[dict[str, str], bytes]


class Receiver:
    """Records each request, and answers with the next of `answers`, then with 204 for ever."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answers: list[int | Callable[[BaseHTTPRequestHandler], None]] = []
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]

    def verified(self, secret: str) -> list[dict]:
        """The bodies, after the official library has checked each signature."""
        return [Verifier(secret).verify(body, headers) for headers, body in self.got]


@contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            receiver.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if len(body) < int(self.headers["Content-Length"]):  # The sender was killed on the way.
                self.close_connection = True
                return None
            receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            answer = receiver.answers.pop(0) if receiver.answers else 204
            if callable(answer):
                return answer(self)
            self.send_response(answer)
            if 300 <= answer < 400:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def send_all() -> int:
    """Run rounds now: whatever waits for its time or its lane is due."""
    Lane.objects.exclude(name=round.ROUND).update(paused_until=None)
    Delivery.objects.filter(state="waiting").update(due_at=database_now())
    return round.run()
