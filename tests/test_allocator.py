"""What keeps the memory of a serving process flat."""

import subprocess
import sys

import pytest

HEAPS = """
import ctypes, re, sys, threading
{first}
import pyarrow as pa
held, ready = [], threading.Barrier(12)
def fill():
    ready.wait()
    held.append([bytes(600 + i) for i in range(20_000)])
    ready.wait()
threads = [threading.Thread(target=fill) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
print(open(sys.argv[1]).read().count("<heap nr="), pa.default_memory_pool().backend_name)
"""
FIRST = "from specformer_mcp.allocator import keep_memory_flat; keep_memory_flat()"


def seen(folder, first):
    done = subprocess.run(
        [sys.executable, "-c", HEAPS.format(first=first), str(folder / "heaps.xml")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    number, pool = done.stdout.split()
    return int(number), pool


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_threads_share_their_heaps(tmp_path):
    number, pool = seen(tmp_path, FIRST)
    assert number <= 2
    assert pool == "system"
    assert seen(tmp_path, "")[0] > 2  # else this test would show nothing
