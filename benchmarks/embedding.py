"""What the network costs on this machine's CPU: PyTorch, OpenVINO, and ways that were not taken.

Run with ``python benchmarks/embedding.py``. The sequences are those of the example samples and of
copies with log-normal noise on every gene, so all are of full length. Every method takes its turn
in each round, so other load on the machine hits all alike; CPU seconds (user + system, all
threads) suffer least from it. Cosines are the least over profiles, with the first method. After the
network alone comes the whole path, as a profile is embedded when served.

Batches are here to show what going one by one costs: in them a profile's bits depend on what else
is in the batch, so they are not offered.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

# Threads that wait for others must sleep, not spin: that would count as CPU time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import numpy.typing as npt
import torch

from specformer_encoder.backends import BackendName, GeneSequence, TorchBackend, usable_cores
from specformer_encoder.embedder import Embedder, load_network
from specformer_encoder.model import SpecFormer
from specformer_encoder.openvino_backend import OpenVinoBackend
from specformer_encoder.ordering import gene_sequence
from specformer_encoder.profiles import load_profiles
from specformer_encoder.release import open_release

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FILES = ("luad_tumor.tsv.gz", "luad_normal.tsv.gz", "coadread_tumors.csv.gz")
BATCH = 16
FloatArray = npt.NDArray[np.float32]


class Pools(Protocol):
    """What is measured."""

    def pool(self, sequences: Sequence[GeneSequence]) -> FloatArray:
        """(S, D) vectors of S sequences."""
        ...


class Batches:
    """PyTorch, several profiles in one tensor and all cores on each operation."""

    def __init__(self, network: SpecFormer, *, bfloat16: bool) -> None:
        self._network = network
        self._bfloat16 = bfloat16

    def pool(self, sequences: Sequence[GeneSequence]) -> FloatArray:
        """(S, D) vectors of S sequences of one length."""
        rows = []
        torch.set_num_threads(usable_cores())
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, self._bfloat16):
            for start in range(0, len(sequences), BATCH):
                tokens = np.stack(sequences[start : start + BATCH]).astype(np.int64)
                vectors = self._network.pool(self._network.states(torch.from_numpy(tokens)))
                rows.append(vectors.float().numpy())
        torch.set_num_threads(1)
        return np.concatenate(rows)


@dataclass
class Measured:
    """One method and what was seen of it."""

    name: str
    pools: Pools
    open_s: float
    open_cpu_s: float
    grown_mb: float
    one_s: list[float] = field(default_factory=list)
    one_cpu_s: list[float] = field(default_factory=list)
    bulk_s: list[float] = field(default_factory=list)
    bulk_cpu_s: list[float] = field(default_factory=list)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def resident_mb() -> float:
    """Resident memory of this process (Linux)."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def opened(
    name: str, make: Callable[[], Pools], sequences: Sequence[GeneSequence]
) -> tuple[Measured, FloatArray]:
    """Make a method, and use all of its threads once: that too takes memory."""
    before = resident_mb()
    made: list[Pools] = []
    wall, cpu = timed(lambda: made.append(make()))
    vectors = made[0].pool(sequences)
    return Measured(name, made[0], wall, cpu, resident_mb() - before), vectors


def noisy_sequences(idf: FloatArray, length: int, count: int) -> list[GeneSequence]:
    """Sequences of the examples, then of copies with noise, `count` in all."""
    profiles = [row for name in FILES for row in load_profiles(EXAMPLES / name).values]
    draw = np.random.default_rng(0)
    rows = []
    for number in range(count):
        profile = profiles[number % len(profiles)]
        if number >= len(profiles):
            profile = profile * draw.lognormal(0, 0.5, profile.shape).astype(np.float32)
        rows.append(gene_sequence(profile, idf, length))
    assert all(len(row) == length for row in rows)
    return rows


def least_cosine(ours: FloatArray, theirs: FloatArray) -> float:
    """Smallest cosine between corresponding rows."""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / lengths).min())


def methods(network: SpecFormer) -> dict[str, Callable[[], Pools]]:
    """Everything that is compared; the first is what the others are compared with."""
    ways: dict[str, Callable[[], Pools]] = {
        "torch float32": lambda: TorchBackend(network),
        f"torch float32, batches of {BATCH}": lambda: Batches(network, bfloat16=False),
        f"torch bfloat16, batches of {BATCH}": lambda: Batches(network, bfloat16=True),
    }
    if find_spec("openvino") is not None:
        ways["openvino float32"] = lambda: OpenVinoBackend(network)
        ways["openvino bfloat16"] = lambda: OpenVinoBackend(network, precision="bfloat16")
    return ways


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profiles", type=int, default=48, help="profiles of one bulk run")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    release = open_release()
    network = load_network(release)
    config = network.config
    sequences = noisy_sequences(release.idf, config.length, options.profiles)
    print(f"{len(sequences)} profiles of {config.length} genes, {config.layers} layers × ", end="")
    print(f"{config.width}, {usable_cores()} cores, {options.rounds} rounds")

    seen = [opened(name, make, sequences) for name, make in methods(network).items()]
    for _ in range(options.rounds):
        for method, _ in seen:
            pool = method.pools.pool
            for sequence in sequences[:10]:
                wall, cpu = timed(partial(pool, [sequence]))
                method.one_s.append(wall)
                method.one_cpu_s.append(cpu)
            wall, cpu = timed(partial(pool, sequences))
            method.bulk_s.append(wall)
            method.bulk_cpu_s.append(cpu)

    print(f"{'':<31}{'open':>15}{'memory':>9}{'one profile, p50':>20}{'bulk':>22}{'cosine':>10}")
    print(f"{'':<31}{'wall s':>8}{'cpu s':>7}{'+MB':>9}{'wall ms':>11}{'cpu ms':>9}", end="")
    print(f"{'profiles/s':>12}{'cpu ms':>10}{'least':>10}")
    reference = seen[0][1]
    for method, vectors in seen:
        bulk_cpu = statistics.median(method.bulk_cpu_s) / len(sequences)
        print(
            f"{method.name:<31}{method.open_s:8.2f}{method.open_cpu_s:7.2f}{method.grown_mb:9.0f}"
            f"{1000 * statistics.median(method.one_s):11.1f}"
            f"{1000 * statistics.median(method.one_cpu_s):9.1f}"
            f"{len(sequences) / statistics.median(method.bulk_s):12.1f}{1000 * bulk_cpu:10.1f}"
            f"{least_cosine(vectors, reference):10.6f}"
        )
    whole_path(options.profiles)


def whole_path(count: int) -> None:
    """Ordering, network, factors and projection, as a profile is embedded when served."""
    backends: list[BackendName] = ["torch"]
    if find_spec("openvino") is not None:
        backends.append("openvino")
    profiles = np.concatenate([load_profiles(EXAMPLES / name).values for name in FILES])
    values = np.resize(profiles, (count, profiles.shape[1]))
    print("\nwhole path: ordering, ranks, network, factors, projection")
    vectors = []
    for name in backends:
        embedder = Embedder.load(backend=name)
        vectors.append(embedder.embed(values))
        one = [timed(partial(embedder.embed, row[None])) for row in values]
        wall, cpu = timed(partial(embedder.embed, values))
        median = [1000 * statistics.median(column) for column in zip(*one, strict=True)]
        print(
            f"{name:<10}one profile, p50 {median[0]:6.1f} ms wall, {median[1]:6.1f} ms CPU; "
            f"bulk {count / wall:5.1f} profiles/s, {1000 * cpu / count:5.1f} ms CPU each; "
            f"least cosine {least_cosine(vectors[-1], vectors[0]):.7f}"
        )


if __name__ == "__main__":
    main()
