"""What the C library's allocator keeps of memory that is free again: little, in a process that runs for months.

glibc gives threads heaps of their own, sixteen on two processors, and after a large buffer was freed the next ones come
from there and stay. Each time a closed journal was indexed, another heap kept some 5 MB: a worker grew from 36 to 90 MB
in seven minutes of a soak. The GIL keeps threads from allocating at once anyway, so two heaps are enough (mallopt(3)).
"""

from __future__ import annotations

import ctypes

ARENA_MAX, MMAP_THRESHOLD = -8, -3
"""Names in glibc's malloc.h."""
ARENAS = 2
LARGE_BYTES = 256 << 10
"""What is larger goes back to the kernel when it is freed. To name it keeps glibc from raising it."""


def keep_little() -> None:
    """Set it for this process and those that it forks; where the library is another one, nothing is done."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(ARENA_MAX, ARENAS)
        mallopt(MMAP_THRESHOLD, LARGE_BYTES)
