"""Give large blocks of memory back to the machine as soon as they are free.

glibc raises its threshold for that with each large block that it frees, up to 32 MiB. From then on bodies and answers
of some MiB come from the heaps of threads, where any small block that lives on keeps the whole of them in memory.
"""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3
#: glibc's own first value. To set it keeps it.
LARGE_BYTES = 128 * 1024


def give_back_large_blocks() -> None:
    """Fix the threshold, where the C library has one: musl and macOS give large blocks back anyway."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
