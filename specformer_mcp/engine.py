"""The encoder, the index and the gene sets, loaded once and used by one caller at a time.

Importing torch and LanceDB takes seconds and opening the release takes more, so nothing of it
happens before the server has answered its first message: `Engine.start` loads in a background
thread, and whoever needs the result waits for it. The command line uses the same engine.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from specformer_encoder.errors import SpecformerError
from specformer_mcp.allocator import never_collect_what_is_here
from specformer_mcp.batching import BATCH, CAPACITY
from specformer_mcp.follower import Follower
from specformer_mcp.local_model import LocalModel
from specformer_mcp.readers import BusyError, ProfileReader, result_of
from specformer_mcp.samples import Sample, handle_of

if TYPE_CHECKING:
    from specformer_encoder.gene_sets import GeneSets
    from specformer_encoder.heads import TypePrediction
    from specformer_encoder.interpreter import Interpreter
    from specformer_encoder.profiles import FloatArray, ProfileSet
    from specformer_encoder.raw import RawMatrix
    from specformer_encoder.release import Release
    from specformer_encoder.unexpected import UnexpectedGenes
    from specformer_index.search import ReferenceIndex

logger = logging.getLogger(__name__)

State = Literal["idle", "loading", "ready", "failed"]

Watch = Callable[[int, int], None]
"""Is told (done, total) between batches; raises to stop the work."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything heavy, ready for use.

    Attributes
    ----------
    embedder
        From what was read of profiles to their embeddings and types. Where `reader` is the network
        in this process, it is an `Embedder`.
    reader
        Reads profiles.
    """

    embedder: Interpreter
    reader: ProfileReader
    index: ReferenceIndex
    gene_sets: GeneSets


class Engine:
    """Load once, then embed, predict and score.

    Parameters
    ----------
    release, index
        Directories; None = those that the environment variables ``SPECFORMER_RELEASE`` and
        ``SPECFORMER_INDEX`` name, or else the bundled ones.
    index_version
        Version of the index that answers are pinned to; None = the current one.
    max_bytes, max_inflated_bytes
        Largest expression file accepted, as it lies and decompressed.
    own_files
        Whether the files are the caller's own, on their own machine, so that no cap applies.
    batch, queue
        Profiles read together, and profiles that may wait to be read (see `BatchQueue`).
    connect
        Given the opened release, returns what reads profiles; None = load the network into this
        process.
    """

    def __init__(
        self,
        *,
        release: Path | None = None,
        index: Path | None = None,
        index_version: str | None = None,
        max_bytes: int = 1_000_000_000,
        max_inflated_bytes: int = 4_000_000_000,
        own_files: bool = False,
        batch: int = BATCH,
        queue: int = CAPACITY,
        connect: Callable[[Release], ProfileReader] | None = None,
    ) -> None:
        self._release = release or from_environment("SPECFORMER_RELEASE")
        self._index = index or from_environment("SPECFORMER_INDEX")
        self._index_version = index_version
        self._max_bytes = max_bytes
        self._max_inflated_bytes = max_inflated_bytes
        self._own_files = own_files
        self._batch = batch
        self._queue = queue
        self._connect = connect
        self._loading = threading.Lock()
        self._started = threading.Event()
        self._serving = False
        # One computation at a time: concurrent ones would only share the same cores and caches.
        self._busy = threading.Lock()
        self._loaded: Loaded | None = None
        self._follower: Follower | None = None
        self._problem: str | None = None

    @property
    def state(self) -> State:
        """Tell how far loading is."""
        if self._loaded is not None:
            return "ready" if self._loaded.reader.available else "loading"
        if self._problem is not None:
            return "failed"
        return "loading" if self._started.is_set() else "idle"

    @property
    def problem(self) -> str | None:
        """Say why loading failed, if it did."""
        return self._problem

    @property
    def waiting(self) -> int:
        """Count the profiles that wait to be read."""
        return 0 if self._loaded is None else self._loaded.reader.waiting

    def start(self, *, delay_s: float = 0.0) -> None:
        """Begin loading in the background, once, `delay_s` seconds from now.

        From then on, what joins the index is seen without a new start, unless answers are pinned
        to a version.
        """
        if self._started.is_set():
            return
        self._started.set()
        self._serving = True
        timer = threading.Timer(delay_s, self._load_quietly)
        timer.name = "specformer-load"
        timer.daemon = True
        timer.start()

    def loaded(self) -> Loaded:
        """Return what was loaded, loading it or waiting for it if need be.

        Raises
        ------
        SpecformerError
            The release or the index is missing, damaged, or they do not belong together.
        """
        self._started.set()
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
            loaded = self._loaded
        if self._follower is None:
            return loaded
        return dataclasses.replace(loaded, index=self._follower.current())

    def close(self) -> None:
        """Free what was loaded; nothing is answered afterwards."""
        if self._loaded is not None:
            self._loaded.reader.close()

    def open(self, path: Path) -> RawMatrix:
        """Open an expression file or folder; see `specformer_encoder.readers.read`."""
        from specformer_encoder.readers import OWN_FILES, Limits, read

        limits = Limits(max_bytes=self._max_bytes, max_inflated_bytes=self._max_inflated_bytes)
        return read(path, limits=OWN_FILES if self._own_files else limits)

    def resolve(
        self, raw: RawMatrix, *, unit: str | None = None, sample: str | None = None
    ) -> Iterator[ProfileSet]:
        """Resolve what was opened; see `specformer_encoder.profiles.resolve_blocks`."""
        from specformer_encoder.profiles import resolve_blocks

        return resolve_blocks(raw, unit=unit, sample=sample)

    def read_values(
        self, values: Mapping[str, float], *, sample: str, unit: str | None = None
    ) -> ProfileSet:
        """Resolve inline values, gene → number."""
        from specformer_encoder.profiles import profiles_from_values

        return profiles_from_values(values, sample=sample, unit=unit)

    def embed(
        self,
        samples: Sequence[Sample],
        *,
        budget_s: float = float("inf"),
        watch: Watch | None = None,
    ) -> None:
        """Give every sample its embedding, until the time budget is spent.

        At least one batch is embedded; a sample left over is embedded when it is first used. So is
        one that finds the server too busy after the first batch.

        Parameters
        ----------
        samples
            Those that have an embedding cost nothing.
        budget_s
            Seconds after which no further batch is begun.
        watch
            Is told after every batch how many of the samples have their embedding, and while
            waiting for one; what it raises stops the work.

        Raises
        ------
        SpecformerError
            A profile cannot be read, or the server is too busy or not able to read any now.
        """
        import numpy as np

        loaded = self.loaded()
        release = loaded.embedder.release.sha256
        waiting = [sample for sample in samples if not sample.is_embedded_by(release)]
        deadline = time.monotonic() + budget_s
        done = len(samples) - len(waiting)
        for start in range(0, len(waiting), self._batch):
            if start and time.monotonic() > deadline:
                return
            batch = waiting[start : start + self._batch]
            values = np.stack([sample.values for sample in batch])
            look = None if watch is None else functools.partial(watch, done + start, len(samples))
            try:
                reading = result_of(loaded.reader.submit(values), look=look)
            except BusyError:
                if start:
                    return
                raise
            vectors = loaded.embedder.embeddings(reading)
            for row, sample in enumerate(batch):
                # A copy, so that one kept sample does not keep its whole batch alive.
                sample.set_embedding(vectors[row].copy(), reading.rows([row]), release=release)
            if watch is not None:
                watch(done + start + len(batch), len(samples))

    def embedding(self, sample: Sample) -> FloatArray:
        """Return the (D,) embedding of a sample."""
        if not sample.is_embedded_by(self.loaded().embedder.release.sha256):
            self.embed([sample])
        assert sample.embedding is not None  # noqa: S101 - embed() has just set it
        return sample.embedding

    def predict(self, sample: Sample) -> TypePrediction:
        """Return the cancer type of a sample, calibrated."""
        self.embedding(sample)
        assert sample.reading is not None  # noqa: S101 - embedding() has just set it
        with self._busy:
            return self.loaded().embedder.predict(sample.reading)[0]

    def predictions(self, samples: Sequence[Sample]) -> list[TypePrediction]:
        """Return the cancer types of samples, all at once."""
        from specformer_encoder.reading import Reading

        if not samples:
            return []
        self.embed(samples)
        readings = [sample.reading for sample in samples if sample.reading is not None]
        with self._busy:
            return self.loaded().embedder.predict(Reading.join(readings))

    def unexpected_genes(self, sample: Sample, *, top: int, surprisal: bool) -> UnexpectedGenes:
        """Return the genes that the rest of a sample's profile does not explain."""
        reader = self.loaded().reader
        return result_of(reader.explain(sample.values, top=top, surprisal=surprisal))

    def pathway_scores(self, sample: Sample) -> FloatArray:
        """Return the (P,) direct ssGSEA scores of a sample; NaN = could not be scored."""
        from specformer_encoder.ssgsea import ssgsea

        with self._busy:
            scores: FloatArray = ssgsea(sample.values[None], self.loaded().gene_sets)[0]
        return scores

    def _load(self) -> Loaded:
        began = time.monotonic()
        from specformer_encoder.gene_sets import GeneSets
        from specformer_index.search import ReferenceIndex

        embedder, reader = self._open_release()
        open_index = functools.partial(
            ReferenceIndex.open,
            self._index,
            release_sha256=embedder.release.sha256,
            version=self._index_version,
        )
        index = open_index()
        if self._serving and self._index_version is None:
            self._follower = Follower(index, open_index)
        loaded = Loaded(embedder, reader, index, GeneSets.load())
        self._problem = None
        logger.info(
            "ready in %.1f s: release %s, index %s",
            time.monotonic() - began,
            embedder.release.id,
            index.info.version,
        )
        return loaded

    def _open_release(self) -> tuple[Interpreter, ProfileReader]:
        if self._connect is not None:
            from specformer_encoder.interpreter import Interpreter
            from specformer_encoder.release import open_release

            release = open_release(self._release)
            return Interpreter.of(release), self._connect(release)
        from specformer_encoder.embedder import Embedder

        embedder = Embedder.load(self._release)
        return embedder, LocalModel(embedder, batch=self._batch, capacity=self._queue)

    def _load_quietly(self) -> None:
        try:
            self.loaded()
            never_collect_what_is_here()
        except SpecformerError as error:
            self._problem = str(error)
            logger.error("cannot load: %s", error)
        except Exception:
            self._problem = "Loading failed; the server's log has the traceback."
            logger.exception("loading failed")


def from_environment(name: str) -> Path | None:
    """Return the directory that an environment variable names, or None."""
    value = os.environ.get(name)
    return Path(value) if value else None


def samples_of(profiles: ProfileSet) -> list[Sample]:
    """Turn profiles into samples with handles."""
    measured = profiles.genes_measured()
    return [
        Sample(
            handle=handle_of(profiles.content_hash(i)),
            name=name,
            source=profiles.source,
            # A copy, so that one kept sample does not keep its whole matrix alive.
            values=profiles.values[i].copy(),
            unit=profiles.unit,
            genes=profiles.genes,
            genes_measured=int(measured[i]),
        )
        for i, name in enumerate(profiles.samples)
    ]
