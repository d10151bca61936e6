"""A tiny SMTP server on this host, with the faults that a test chooses."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message


class Server:
    """`refuses` maps a verb to the answer that a test wants; `hangs` makes it silent, `drips` endless."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.refuses: dict[str, bytes] = {}
        self.hangs = threading.Event()
        self.drips = threading.Event()
        self.over = threading.Event()
        self.port = 0


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            if server.hangs.is_set():
                server.over.wait(30)
                return
            while server.drips.is_set() and not server.over.wait(0.05):
                self.wfile.write(b"2")
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                verb = line.split()[0].upper().decode()
                answer = server.refuses.get(verb, b"221 bye" if verb == "QUIT" else b"250 fine")
                if verb == "DATA" and answer.startswith(b"2"):
                    self.wfile.write(b"354 go on\r\n")
                    text = b""
                    while (part := self.rfile.readline()) != b".\r\n":
                        text += part
                    server.mails.append(message_from_bytes(text))
                self.wfile.write(answer + b"\r\n")
                if verb == "QUIT":
                    return

    listener = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    server.port = listener.server_address[1]
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        listener.shutdown()
        listener.server_close()
        thread.join(10)
