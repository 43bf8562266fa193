"""Batches prepared by several processes: for a GPU, which trains faster than one core prepares.

Batches are a function of the step, so which process prepares one changes nothing. They come back
through shared memory (`/dev/shm`), a few of them at a time for each process.
"""

from __future__ import annotations

import signal
from collections.abc import Generator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from specformer_encoder.batches import Batch, Batches


def prepare(
    batches: Batches, first_step: int, last_step: int, *, workers: int
) -> Generator[tuple[Batch, Batch], None, None]:
    """`batches.training(step)` for the steps from `first_step` up to and without `last_step`.

    Parameters
    ----------
    workers
        Processes that prepare; with 0, one thread of this process does.
    """
    if first_step >= last_step:
        return
    if not workers:
        yield from batches.prefetch(first_step, last_step)
        return
    yield from DataLoader(
        _Steps(batches, first_step, last_step),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_leave_signals_to_the_parent,
    )


class _Steps(Dataset[tuple[Batch, Batch]]):
    def __init__(self, batches: Batches, first_step: int, last_step: int) -> None:
        self._batches, self._first, self._last = batches, first_step, last_step

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, place: int) -> tuple[Batch, Batch]:
        return self._batches.training(self._first + place)


def _as_it_is(item: Any) -> Any:
    return item


def _leave_signals_to_the_parent(_worker: int) -> None:
    # Ctrl-C reaches the whole process group, and the parent still wants its next batch; workers
    # end when it lets them go or is gone.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
