"""How exact and how fast the search of a large index is, with and without filters.

    python benchmarks/index_search.py --rows 200000

The rows are synthetic: profiles of the bundled index with Gaussian noise, renumbered into studies
and sources. A source is drawn anew for every row, so that a filter by source is spread over the
space; a study is a group of neighbouring cohorts, so that a filter by study is a corner of it, and
queries come from everywhere: the worst case for an approximate index. Truth is the exact product.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specformer_index import vectors as vectors_module
from specformer_index.cohorts import CohortPathwayMoments
from specformer_index.filters import Filters
from specformer_index.opening import open_table, read_info
from specformer_index.schema import PROFILE
from specformer_index.search import ReferenceIndex
from specformer_index.vectors import as_matrix, largest
from specformer_index.write import new_directory, write_tables

K = 50
FloatArray = npt.NDArray[np.float32]


def main() -> None:
    """Build, ask, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--noise", type=float, default=0.6, help="length of the noise vector")
    parser.add_argument("--probed", type=float, help="share of the partitions to probe")
    parser.add_argument("--index", type=Path, help="keep the synthetic index here, or use it")
    args = parser.parse_args()
    if args.probed:
        vectors_module.PROBED_SHARE = args.probed
    with tempfile.TemporaryDirectory() as folder:
        root = args.index or Path(folder) / "index"
        if not root.exists():
            build(root, args.rows, args.noise)
        ask(root, args.queries, args.noise)


def noisy(vectors: FloatArray, noise: float, rng: np.random.Generator) -> FloatArray:
    """Return unit vectors beside `vectors`."""
    step = rng.normal(size=vectors.shape).astype(np.float32) * (noise / vectors.shape[1] ** 0.5)
    moved = vectors + step
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)


def bundled() -> tuple[FloatArray, list[str]]:
    """Return vectors and cohorts of the bundled index."""
    table = open_table(read_info()).search().select(["cohort", "vector"]).limit(None).to_arrow()
    return as_matrix(table["vector"]), table["cohort"].to_pylist()


def build(root: Path, n: int, noise: float) -> None:
    """Write a synthetic index of `n` rows."""
    rng = np.random.default_rng(0)
    real, cohorts = bundled()
    chosen = np.sort(rng.integers(0, len(real), n))
    numbers = {name: number for number, name in enumerate(sorted(set(cohorts)))}
    began, cpu = time.perf_counter(), time.process_time()
    rows = []
    for i, parent in enumerate(chosen.tolist()):
        cohort = cohorts[parent]
        rows.append(
            {
                "id": f"synthetic:{i}",
                "kind": PROFILE,
                "cohort": cohort,
                "cohort_name": cohort,
                "study": f"study {numbers[cohort] % 20}",
                "tissue": "",
                "sample_type": "tumor",
                "patient": f"P{i // 2}",
                "source": f"source {rng.integers(20)}",
                "unit": "tpm",
                "split": "",
                "subtype": "",
                "genes_measured": 18_000,
            }
        )
    with new_directory(root) as partial:
        write_tables(
            partial,
            rows=rows,
            vectors=noisy(real[chosen], noise, rng),
            pathways=CohortPathwayMoments([], []),
            release_id="synthetic",
            release_sha256="0" * 64,
        )
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    print(
        f"built {n:,} rows of {real.shape[1]} numbers: {time.perf_counter() - began:.0f} s, "
        f"{time.process_time() - cpu:.0f} cpu-s, {size / 1e6:,.0f} MB"
    )


def ask(root: Path, n: int, noise: float) -> None:
    """Print recall and time of each kind of question."""
    rng = np.random.default_rng(1)
    index = ReferenceIndex.open(root, release_sha256="0" * 64)
    real, _ = bundled()
    queries = noisy(real[rng.integers(0, len(real), n)], noise, rng)
    matrix = index._vectors.rows(np.arange(len(index._members)))
    print(f"{'filter':38}{'rows':>9}{'recall@10':>11}{'recall@50':>11}{'cpu ms':>8}{'wall ms':>9}")
    studies = index.values_of("study")
    sizes = {name: int(index._members.mask(Filters(study=name)).sum()) for name in studies}
    wide = max(sizes, key=lambda name: sizes[name])
    near5 = min(sizes, key=lambda name: abs(sizes[name] - 0.05 * len(matrix)))
    for name, filters in (
        ("none", Filters()),
        ("source, spread", Filters(source="source 3")),
        (f"{near5}, a corner", Filters(study=near5)),
        (f"{wide}, the largest corner", Filters(study=wide)),
        ("a patient left out", Filters(exclude_patient="P7")),
        ("source and study", Filters(source="source 3", study=near5)),
    ):
        mask = index._members.mask(filters)
        hits10 = hits50 = 0
        cpu = wall = 0.0
        for query in queries:
            truth = largest(matrix @ query, K, mask=mask)
            began, began_cpu = time.perf_counter(), time.process_time()
            found = index.nearest_profiles(query, k=K, filters=filters)
            wall += time.perf_counter() - began
            cpu += time.process_time() - began_cpu
            ids = [index._members.label(int(row))["id"] for row in truth]
            hits10 += len({n.id for n in found[:10]} & set(ids[:10]))
            hits50 += len({n.id for n in found} & set(ids))
        print(
            f"{name:38}{mask.sum():9,}{hits10 / n / 10:11.4f}{hits50 / n / K:11.4f}"
            f"{1000 * cpu / n:8.1f}{1000 * wall / n:9.1f}",
            flush=True,
        )
    began, began_cpu = time.perf_counter(), time.process_time()
    for query in queries[:5]:
        index.cohort_similarities(query)
    cpu, wall = time.process_time() - began_cpu, time.perf_counter() - began
    print(f"similarity to all cohorts, exact: {200 * cpu:.0f} cpu-ms, {200 * wall:.0f} ms")


if __name__ == "__main__":
    main()
