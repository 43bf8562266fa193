"""How often is the unit of a real file detected? Every profile alone, and every file as a matrix.

The units that the corpus states are the truth. Three questions, in order of what a wrong answer
costs: (a) linear or logarithmic, (b) divided by gene length or not, (c) the exact unit. The
thresholds of the detection were chosen while looking at these files, so the numbers describe how
well the rules fit them, not how well they do on a pipeline that is not among them.

    python benchmarks/unit_detection.py --corpus DIR
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np

from specformer_encoder.errors import SpecformerError
from specformer_encoder.genes import map_genes, vocabulary
from specformer_encoder.readers import read
from specformer_encoder.units import UnitCall, detect_unit

#: Unit in the corpus → (unit, logarithmic, divided by gene length). What `panel_paired` calls log2
#: is taken to be log2 of RSEM values (its origin does not say); vst is computed from counts.
TRUTH = {
    "counts": ({"counts"}, False, False),
    "rsem_raw_counts": ({"expected_counts"}, False, False),
    "rsem_expected_counts": ({"expected_counts"}, False, False),
    "rsem_normalized": ({"rsem_normalized"}, False, False),
    "fpkm": ({"fpkm"}, False, True),
    "fpkm_uq": ({"fpkm_uq"}, False, True),
    "tpm": ({"tpm"}, False, True),
    "rsem_fpkm_combat": ({"fpkm"}, False, True),
    "rsem_log2": ({"rsem_normalized"}, True, False),
    "log2": ({"rsem_normalized"}, True, False),
    "log2_vst": ({"counts", "expected_counts"}, True, False),
    "log2p1_tpm": ({"tpm"}, True, True),
}


def judge(call: UnitCall, unit: str) -> tuple[bool, bool, bool]:
    """Whether scale, length normalisation and unit are right."""
    names, logarithmic, divided = TRUTH[unit]
    return (
        (call.scale != "linear") == logarithmic,
        call.length_normalised == divided,
        call.unit in names,
    )


def main() -> None:
    """Print one line a file and the totals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with expression/")
    parser.add_argument("--no-lengths", action="store_true", help="detect without gene lengths")
    parser.add_argument("--most", type=int, default=0, help="profiles a file (0: all)")
    options = parser.parse_args()
    single: list[tuple[bool, bool, bool]] = []
    whole: list[tuple[bool, bool, bool]] = []
    seconds: list[float] = []
    for path in sorted((options.corpus / "expression").glob("*.parquet")):
        unit = path.name.split(".")[-2]
        raw = read(path)
        lengths = None
        if not options.no_lengths:
            index = map_genes(raw.gene_ids, raw.source).index
            lengths = np.where(index >= 0, vocabulary().lengths[index], np.nan)
        rows = raw.values[: options.most] if options.most else raw.values
        calls: list[UnitCall] = []
        for row in rows:
            start = time.perf_counter()
            try:
                calls.append(detect_unit(row, lengths=lengths))
            except SpecformerError as error:
                print(f"  refused: {error}")
                single.append((False, False, False))
            seconds.append(time.perf_counter() - start)
        right = [judge(call, unit) for call in calls]
        single += right
        matrix = detect_unit(raw.values, lengths=lengths)
        whole.append(judge(matrix, unit))
        called = Counter(f"{call.unit} {call.scale}" for call in calls)
        share = " ".join(f"{100 * x:5.1f}" for x in np.mean(right, axis=0))
        print(
            f"{path.name[:-8]:40s} n={len(rows):4d} alone: {share}  matrix: "
            f"{''.join('ny'[ok] for ok in whole[-1])} {matrix.unit} {matrix.scale} "
            f"{matrix.confidence:.2f}  | {dict(called)}"
        )
    for name, judged in (("alone", single), ("matrix", whole)):
        scale, divided, exact = 100 * np.mean(judged, axis=0)
        print(
            f"{name:7s} n={len(judged):5d}  linear/log {scale:.2f} %  length-normalised "
            f"{divided:.2f} %  exact unit {exact:.2f} %"
        )
    print(f"median {1000 * np.median(seconds):.1f} ms a profile")


if __name__ == "__main__":
    main()
