"""Settings of the memory of a process that runs for weeks.

Both are of the whole process, so that only what serves calls them.
"""

from __future__ import annotations

import ctypes
import gc
import sys

_M_ARENA_MAX = -8
"""As glibc's malloc.h has it."""
_ARENAS = 2


def keep_memory_flat() -> None:
    """Keep glibc from giving each thread a heap of its own; elsewhere, do nothing.

    Calls run in dozens of threads, a large message in each now and then, and what one heap has
    free no other can use: the process would grow to many times what it holds. To be called before
    the threads are there.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # musl has none, and no such heaps
            libc.mallopt(_M_ARENA_MAX, _ARENAS)


def never_collect_what_is_here() -> None:
    """Keep the garbage collector from walking through all that lives until the process ends.

    Modules, release and index are a million objects, which it would look at again and again.
    """
    gc.freeze()
