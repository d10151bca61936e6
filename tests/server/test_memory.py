"""A web process returns the memory of large bodies and answers."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
