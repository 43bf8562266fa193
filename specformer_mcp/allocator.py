"""Settings of the memory of a process that runs for weeks.

Both are of the whole process, so that only what serves calls them.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys

_M_ARENA_MAX = -8
"""As glibc's malloc.h has it."""
_ARENAS = 2


def keep_memory_flat() -> None:
    """Keep the process from growing to many times what it holds.

    Calls run in dozens of threads, a large message or table in each now and then. glibc gives
    threads heaps of their own, and what one has free no other can use; Arrow's allocator, mimalloc,
    does the same. To be called before there are threads, and before Arrow is imported.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # musl has none, and no such heaps
            libc.mallopt(_M_ARENA_MAX, _ARENAS)


def never_collect_what_is_here() -> None:
    """Keep the garbage collector from walking through all that lives until the process ends.

    Modules, release and index are a million objects, which it would look at again and again.
    """
    gc.freeze()
