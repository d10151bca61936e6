"""A web server that records a supervisor's reports, and answers as a test wants."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Stub:
    """The recorded reports, and the answers: (status, body) by the last word of the path."""

    url: str = ""
    posts: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    answers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    watch: Callable[[str], None] = lambda path: None

    def of(self, what: str) -> list[dict[str, Any]]:
        return [body for path, body, _ in self.posts if path.endswith(what)]


@contextmanager
def stub_server() -> Iterator[Stub]:
    it = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            it.watch(self.path)
            it.posts.append((self.path, body, self.headers["Authorization"]))
            status, answer = it.answers.get(self.path.rsplit("/", 1)[1], (200, {"action": "continue"}))
            raw = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        server.server_close()
