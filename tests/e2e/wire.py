"""A wire between children and a web process that a test can cut at one exact frame."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

from tests.servers import free_port


class Wire:
    """Relays TCP to `port`. When the server sends `mark`, `at_mark` is called instead of passing that on, once.

    Server frames are neither masked nor compressed, so their text can be seen passing by.
    """

    def __init__(self, port: int) -> None:
        self.target = ("127.0.0.1", port)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.mark = b""
        self.at_mark: Callable[[], object] = lambda: None
        self.cuts = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, mark: str, action: Callable[[], object]) -> None:
        self.cuts, self.at_mark = 0, action
        self.mark = mark.encode()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                child, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(child,), daemon=True).start()

    def _serve(self, child: socket.socket) -> None:
        try:
            web = socket.create_connection(self.target, timeout=5)
        except OSError:
            child.close()
            return
        web.settimeout(None)
        threading.Thread(target=self._relay, args=(child, web, False), daemon=True).start()
        self._relay(web, child, True)

    def _relay(self, source: socket.socket, sink: socket.socket, is_server: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_server and self._is_marked(data):
                    self.at_mark()
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _is_marked(self, data: bytes) -> bool:
        with self._lock:
            if not self.mark or self.mark not in data:
                return False
            self.mark = b""
            self.cuts += 1
            return True

    def close(self) -> None:
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
