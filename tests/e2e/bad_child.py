"""Children that break the rules: `python bad_child.py KIND`. They speak the protocol by hand."""

import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # It runs in a folder of its own.

from tests.waiting import breathe
from wardroom.identity import Identity


def connect_child() -> Any:
    who = Identity.from_env()
    headers = {"Authorization": f"Bearer {who.token}"}
    socket = connect(who.websocket_url, subprotocols=["wardroom.v1"], additional_headers=headers, proxy=None)
    return who, socket


def hello() -> Any:
    who, socket = connect_child()
    socket.send(json.dumps({"kind": "hello", "attempt": who.attempt}))
    return socket


def reading(socket: Any) -> None:
    """Read until the server hangs up, and never answer."""
    with contextlib.suppress(Exception):
        for _ in socket:
            pass


def mute() -> None:
    """Never connects."""
    signal.pause()


def wordless() -> None:
    """Connects, and never says hello; it comes back for as long as it is let."""
    while True:
        with contextlib.suppress(Exception):
            reading(connect_child()[1])
        breathe(0.5)


def silent() -> None:
    """Says hello, answers pings, and nothing ever happens."""
    reading(hello())
    signal.pause()


def talker() -> None:
    """Talks for ever."""
    socket = hello()
    threading.Thread(target=reading, args=(socket,), daemon=True).start()
    seq = 0
    with contextlib.suppress(Exception):
        while True:
            seq += 1
            socket.send(json.dumps({"kind": "event", "seq": seq, "event": {"type": "chatter", "n": seq}}))
            breathe(0.05)
    signal.pause()


def deaf() -> None:
    """Ignores cancel and SIGTERM, and has a child of its own that does too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        while True:
            signal.pause()
    reading(hello())
    while True:
        signal.pause()


def garbage() -> None:
    """Send garbage, and stay after the server has closed."""
    socket = hello()
    socket.send("\x07 not json {{{")
    reading(socket)
    print("closed with", socket.close_code, file=sys.stderr, flush=True)
    sys.exit(3)


def crash() -> None:
    """Dies of a signal in the middle of its work."""
    hello()
    print("the last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
