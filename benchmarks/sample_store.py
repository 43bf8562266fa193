"""How long the sample store takes, and how large it grows: `python benchmarks/sample_store.py`.

The samples are a real profile with its genes shuffled, so that they compress as real ones do.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from specformer_encoder.profiles import load_profiles
from specformer_encoder.reading import Reading
from specformer_mcp.engine import samples_of
from specformer_mcp.samples import Sample, SampleStore, handle_of
from specformer_mcp.samples.sample import content_of

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "luad_tumor.tsv.gz"


def made_samples(number: int) -> list[Sample]:
    """Return samples of different content, with vectors of about the size of a release's."""
    (real,) = samples_of(load_profiles(EXAMPLE))
    draw = np.random.default_rng(0)
    made = []
    for i in range(number):
        values = draw.permutation(real.values)
        one = dataclasses.replace(real, name=f"s{i}", values=values)
        one.handle = handle_of(content_of(one))
        vector = draw.normal(size=640).astype(np.float32)
        raw = draw.normal(size=(1, 768)).astype(np.float32)
        of_one = np.ones(1, np.float32)
        one.set_embedding(vector, Reading(raw, of_one, of_one, of_one), release="a release")
        made.append(one)
    return made


def times(what: str, do: Callable[[Sample], object], samples: list[Sample]) -> None:
    """Print what one call takes, in milliseconds."""
    wall, cpu = [], []
    for sample in samples:
        began, worked = time.perf_counter(), time.process_time()
        do(sample)
        wall.append(1e3 * (time.perf_counter() - began))
        cpu.append(1e3 * (time.process_time() - worked))
    print(
        f"{what:<28} p50 {np.median(wall):7.3f} ms   p95 {np.percentile(wall, 95):7.3f} ms   "
        f"CPU p50 {np.median(cpu):7.3f} ms   n {len(samples)}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=500)
    args = parser.parse_args()
    samples = made_samples(args.samples)
    with tempfile.TemporaryDirectory() as folder:
        store = SampleStore(directory=Path(folder))
        store.put(samples[0])  # loads LanceDB
        times("put", store.put, samples)
        times("get, warm", lambda s: store.get(s.handle), samples)
        times("put of what is there", store.put, samples[:100])
        after = SampleStore(directory=Path(folder))
        times("get, first after a restart", lambda s: after.get(s.handle), samples)
        began = time.perf_counter()
        after.put_many(samples)
        print(f"put_many of {len(samples)}: {time.perf_counter() - began:.2f} s")
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        print(f"{size / 1e6:.1f} MB in {len(files)} files; arrays {store.size / 1e6:.1f} MB")
        times("forget", lambda s: after.forget(s.handle), samples[:20])


if __name__ == "__main__":
    main()
