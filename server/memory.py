"""Return large blocks of memory to the system as soon as they are free.

glibc raises its threshold for this with each large block that it frees, up to 32 MiB. After that, bodies and answers of
some MiB come from the heaps of threads, where any small live block keeps a whole heap in memory.
"""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3
#: Just above asyncio's read buffer, a new block of 256 KiB for each read, which would be mapped and returned each time.
#: Setting the threshold explicitly fixes it.
LARGE_BYTES = 264 * 1024


def give_back_large_blocks() -> None:
    """Fix the threshold where the C library has one: musl and macOS return large blocks anyway."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
