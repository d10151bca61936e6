"""A child that floods its connection: `python flood.py URL TOKEN KIND SECS`. It sends as fast as the server reads."""

import contextlib
import json
import sys
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

# Just under the bound of 2,000 frames in 10 s.
FRAMES_PER_SEC = 190


def event_batch(number):
    first = number * 64 + 1
    events = [{"type": "chatter", "n": seq, "text": "x" * 100} for seq in range(first, first + 64)]
    return {"kind": "event_batch", "first_seq": first, "last_seq": first + 63, "qos": "durable", "events": events}


def run_ack(number):
    return {"kind": "run_ack"}


def transcript(number):
    items = [{"role": "assistant", "content": "x" * 100}] * 64
    return {"kind": "transcript", "first": number * 64, "items": items}


KINDS = {kind.__name__: kind for kind in (event_batch, run_ack, transcript)}


def flood(url, token, kind, secs):
    """Frames until the time is over; prints how many were sent."""
    headers = {"Authorization": f"Bearer {token}"}
    with connect(
        url, subprotocols=["wardroom.v1"], additional_headers=headers, proxy=None, compression=None, max_size=None
    ) as socket:
        socket.send(json.dumps({"kind": "hello", "attempt": 1}))
        socket.recv()
        threading.Thread(target=read, args=(socket,), daemon=True).start()
        print("began", flush=True)
        began, sent = time.monotonic(), 0
        with contextlib.suppress(ConnectionClosed):
            while (now := time.monotonic() - began) < secs:
                if sent > now * FRAMES_PER_SEC:
                    threading.Event().wait(0.005)
                    continue
                socket.send(json.dumps(KINDS[kind](sent)))
                sent += 1
        print(json.dumps({"sent": sent, "closed": socket.close_code}), flush=True)


def read(socket):
    with contextlib.suppress(ConnectionClosed):
        for _ in socket:
            pass


if __name__ == "__main__":
    flood(*sys.argv[1:4], float(sys.argv[4]))
