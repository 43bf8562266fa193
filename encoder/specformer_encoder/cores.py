"""Work spread over the cores, each with a share of the batch.

torch spreads every operation over the cores and lets them wait for each other after it. On small
operations the waiting costs more than the work, and on a busy machine each wait lasts until the
last core is given its turn. Here each core takes a share of the batch through many operations, one
thread each. Shares are fixed, and results come back in their order, so sums over them do not depend
on which core was first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def on_cores(work: Callable[[list[Part]], Result], parts: Sequence[Part]) -> list[Result]:
    """Call `work` with a share of the parts on as many cores as torch may use.

    Parameters
    ----------
    work
        Called without gradient tracking, on one thread with torch's operations on that thread
        alone. Must not write where another share reads.
    parts
        What to share out; core c of C takes every C-th part, from the c-th.

    Returns
    -------
    What each call returned, by core; fewer than the cores where there are fewer parts.
    """
    cores = min(torch.get_num_threads(), len(parts))
    shares = [list(parts[core::cores]) for core in range(cores)]
    if cores == 1:
        return [_untracked(work, shares[0])]
    return list(_pool(cores).map(functools.partial(_alone, work), shares))


def _alone(work: Callable[[list[Part]], Result], share: list[Part]) -> Result:
    # A new thread takes torch's number of threads on late, after the pool has set its own.
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    return _untracked(work, share)


def _untracked(work: Callable[[list[Part]], Result], share: list[Part]) -> Result:
    # Gradient tracking is a property of the thread, and on in a new one.
    with torch.no_grad():
        return work(share)


@functools.cache
def _pool(cores: int) -> ThreadPoolExecutor:
    # The number of threads is a property of the thread too: the caller keeps its own.
    return ThreadPoolExecutor(cores, "core", initializer=torch.set_num_threads, initargs=(1,))
