"""Attacks of one caller, each the worst of its kind that the limits let through: `python -m tests.chaos.attacks NAME`.

The form is read as JSON from standard input. Each attack is bounded in time and count, and talks to loopback only. It
prepares its data, prints `ready`, attacks, and prints one JSON object: how often it got which answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
from collections.abc import Awaitable, Callable

from websockets.exceptions import InvalidStatus

from tests.chaos import children, keys, strangers
from tests.chaos.target import Target

ATTACKS: dict[str, Callable[[Target], Awaitable[None]]] = {
    attack.__name__: attack
    for attack in (
        strangers.anonymous_bodies,
        strangers.idle_sockets,
        strangers.forged_tokens,
        strangers.anonymous_documents,
        children.event_floods,
        children.run_ack_floods,
        children.transcript_floods,
        children.large_frame_floods,
        children.token_floods,
        children.frames_of_nothing,
        children.event_pages,
        children.long_history,
        children.streams,
        children.unread_streams,
        keys.many_calls,
        keys.waiting_calls,
        keys.bodies_of_nothing,
        keys.large_drains,
        keys.odd_values,
        keys.large_tree,
    )
}

if __name__ == "__main__":
    victim = Target(json.load(sys.stdin))
    with contextlib.suppress(InvalidStatus, ssl.SSLError):
        asyncio.run(ATTACKS[sys.argv[1]](victim))
    print(json.dumps(victim.seen))
