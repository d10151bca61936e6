"""A web process returns the memory of large bodies and answers."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

# Threads that join large blocks, as answers are joined, and keep a small one after each.
PROGRAM = """
import threading
from pathlib import Path
import config.asgi

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

def work():
    for _ in range(30):
        parts = [bytearray(b"x") * 300_000 for _ in range(16)]
        kept.append(bytearray(1000))
        joined = b"".join(parts)
        kept.append(bytearray(1000))
        del parts, joined
    met.wait()

kept, met = [], threading.Barrier(8)
before = resident()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_large_blocks_that_are_free_are_given_back() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert float(told.stdout) < 15, "MiB"


# As asyncio reads a socket: into a new block of 256 KiB, which then shrinks to the bytes that came.
READS = """
import asyncio.selector_events, resource, socket
from server import memory

memory.give_back_large_blocks()
left, right = socket.socketpair()
size = asyncio.selector_events._SelectorSocketTransport.max_size

def read(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        left.send(b"x" * 60_000)
        assert len(right.recv(size)) == 60_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

read(10)
print(read(1000))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts page faults")
def test_the_buffer_of_a_read_is_not_mapped_anew_each_time() -> None:
    told = subprocess.run([sys.executable, "-c", READS], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 4000, "page faults"
