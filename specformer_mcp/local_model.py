"""The network in this process, behind its queue."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from specformer_mcp.batching import BATCH, CAPACITY, BatchQueue
from specformer_mcp.readers import BusyError

if TYPE_CHECKING:
    from specformer_encoder.embedder import Embedder
    from specformer_encoder.profiles import FloatArray
    from specformer_encoder.unexpected import UnexpectedGenes

MOST_EXPLAINED = 16
"""Profiles that may wait to be explained."""
_RETRY_S = 5


class LocalModel(BatchQueue):
    """Reads profiles in batches and explains them one by one.

    Parameters
    ----------
    embedder
        Of an opened release.
    batch, capacity
        See `BatchQueue`.
    """

    def __init__(self, embedder: Embedder, *, batch: int = BATCH, capacity: int = CAPACITY) -> None:
        super().__init__(embedder.read, batch=batch, capacity=capacity)
        self._embedder = embedder
        self._explaining = ThreadPoolExecutor(1, "specformer-explain")
        self._room = threading.BoundedSemaphore(MOST_EXPLAINED)

    def explain(self, values: FloatArray, *, top: int, surprisal: bool) -> Future[UnexpectedGenes]:
        """Find what is unexpected in a profile; see `ProfileReader.explain`."""
        from specformer_encoder.surprisal import unexpected_genes

        if not self._room.acquire(blocking=False):
            raise BusyError(
                f"The server is busy: {MOST_EXPLAINED} profiles wait to be explained.",
                retry_after_s=_RETRY_S,
            )
        try:
            future = self._explaining.submit(
                unexpected_genes, self._embedder, values, top=top, surprisal=surprisal
            )
        except BaseException as error:
            self._room.release()
            if isinstance(error, RuntimeError):  # the executor is shut down
                raise BusyError("The server is stopping.", retry_after_s=10) from error
            raise
        future.add_done_callback(lambda _: self._room.release())
        return future

    def close(self) -> None:
        """Refuse what waits and what comes; return when what runs is done."""
        super().close()
        self._explaining.shutdown(cancel_futures=True)
