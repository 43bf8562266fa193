"""How often the unit of a real file is detected, and what is refused, noticed and questioned.

    python benchmarks/unit_detection.py --corpus DIR [--part alone ...]

The units that the corpus states are the truth. Parts:

alone       Every profile alone and every file as a matrix. Three questions, in order of what a
            wrong answer costs: (a) linear or logarithmic, (b) divided by gene length or not, (c)
            the exact unit. Also false alarms: samples that `odd_samples` reports in these files,
            and warnings about a unit that is declared as stated.
refused     z-scores, centred values, fold changes, ranks: made from every file, refused as a
            matrix and column by column, with all genes and with 500. A sample that was centred
            first and cut to a panel afterwards is no longer centred: its floor shows what was
            subtracted, log(x+1) - m is the logarithm of a multiple of x with an offset, and it is
            read right. That is why that kind alone is mostly accepted with 500 genes.
mixtures    Half of twenty samples in another unit, one of twenty, and one sample in a later block
            of a file whose unit was called without it.
overrides   One unit declared, another given.
simulated   Pipelines that the corpus has no file of.

Thresholds were chosen while looking at the corpus, so `alone` says how well the rules fit it, not
how well they do on other files. The rules on single reads, on floors, on FPKM times length, on
steep counts and on panels, the limits for centred values and the magnitudes in mixtures were set
or changed on it in November 2026; the other sums, quartiles and slopes are older. `simulated` is
nearer to an estimate: its seeds from 5000 on were first drawn after the last change. Earlier seeds
led to nine (log10 floors, voom's odd multiples, small negatives, rarefied counts, the most genes
with a single read, no alarm about a sample of the same unit or a panel that sums to a million by
chance, vst against other offsets, arrays without a sharp lowest value), so the kinds of pipeline
are not unseen, only the draws.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.simulated_libraries import Values
from benchmarks.simulated_pipelines import PIPELINES, REFUSED
from specformer_encoder.errors import SpecformerError
from specformer_encoder.genes import map_genes, vocabulary
from specformer_encoder.readers import read
from specformer_encoder.units import UnitCall, detect_unit, odd_samples, to_linear

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
#: Count files with enough samples and genes to be converted to every unit.
CONVERTED = ("gdc_htseq", "gdc_rnasum", "gdc_star", "gdc_skcm", "gdc_iobr", "rnaseqdb")
SAMPLES, SEED = 20, 5000


@dataclass(frozen=True)
class File:
    """A file of the corpus: name, stated unit, (S, G) values and (G,) lengths."""

    name: str
    unit: str
    values: Values
    lengths: Values


def files(corpus: Path) -> Iterator[File]:
    """Every expression file, in the order of the names."""
    for path in sorted((corpus / "expression").glob("*.parquet")):
        raw = read(path)
        index = map_genes(raw.gene_ids, raw.source).index
        lengths = np.where(index >= 0, vocabulary().lengths[index], np.nan)
        yield File(path.name[:-8], path.name.split(".")[-2], raw.values, lengths)


def judge(call: UnitCall, unit: str) -> tuple[bool, bool, bool]:
    """Whether scale, length normalisation and unit are right."""
    names, logarithmic, divided = TRUTH[unit]
    return (
        (call.scale != "linear") == logarithmic,
        call.length_normalised == divided,
        call.unit in names,
    )


def outcome(values: Values, lengths: Values | None, declared: str | None = None) -> str:
    """What `detect_unit` made of values: refused, warned or silent."""
    try:
        call = detect_unit(values, declared=declared, lengths=lengths)
    except SpecformerError:
        return "refused"
    return "warned" if call.warnings else "silent"


def alone(corpus: Path, with_lengths: bool) -> None:
    """Print one line a file and the totals."""
    single: list[tuple[bool, bool, bool]] = []
    whole: list[tuple[bool, bool, bool]] = []
    seconds: list[float] = []
    odd_seconds = 0.0
    flagged = questioned = 0
    for file in files(corpus):
        lengths = file.lengths if with_lengths else None
        right = []
        called: Counter[str] = Counter()
        for row in file.values:
            start = time.perf_counter()
            try:
                call = detect_unit(row, lengths=lengths)
            except SpecformerError as error:
                print(f"  refused: {error}")
                right.append((False, False, False))
                continue
            seconds.append(time.perf_counter() - start)
            right.append(judge(call, file.unit))
            called[f"{call.unit} {call.scale}"] += 1
            stated = detect_unit(row, declared=file.unit, lengths=lengths)
            questioned += any("Declared as" in warning for warning in stated.warnings)
        single += right
        matrix = detect_unit(file.values, lengths=lengths)
        whole.append(judge(matrix, file.unit))
        start = time.perf_counter()
        odd = odd_samples(file.values, matrix, lengths)
        odd_seconds += time.perf_counter() - start
        flagged += len(odd)
        share = " ".join(f"{100 * x:5.1f}" for x in np.mean(right, axis=0))
        print(
            f"{file.name:40s} n={len(right):4d} alone: {share}  matrix: "
            f"{''.join('ny'[ok] for ok in whole[-1])} {matrix.unit} {matrix.scale} "
            f"{matrix.confidence:.2f}  odd: {len(odd)}  | {dict(called.most_common(4))}"
        )
    for name, judged in (("alone", single), ("matrix", whole)):
        scale, divided, exact = 100 * np.mean(judged, axis=0)
        print(
            f"{name:7s} n={len(judged):5d}  linear/log {scale:.2f} %  length-normalised "
            f"{divided:.2f} %  exact unit {exact:.2f} %"
        )
    print(f"falsely odd samples: {flagged}; right declarations questioned: {questioned}")
    print(
        f"median {1000 * np.median(seconds):.1f} ms a profile; odd_samples "
        f"{1000 * odd_seconds / len(single):.1f} ms a sample"
    )


def refused(corpus: Path, most: int) -> None:
    """Print how much of each kind of value without a scale is accepted."""
    draw = np.random.default_rng(SEED)
    tally: dict[str, list[list[bool]]] = defaultdict(lambda: [[], [], []])
    for file in files(corpus):
        call = detect_unit(file.values, lengths=file.lengths)
        linear = np.nan_to_num(to_linear(file.values, call).astype(np.float64))
        log = np.log2(linear + 1)
        made = {f"{kind}, log2": change(log) for kind, change in REFUSED.items()}
        made["z-score per gene, linear"] = REFUSED["z-score per gene"](linear)
        made["z-score per gene, log2(x+0.001)"] = REFUSED["z-score per gene"](
            np.log2(linear + 0.001)
        )
        made["centred per gene, log2(x+0.001)"] = REFUSED["centred per gene"](
            np.log2(linear + 0.001)
        )
        few = draw.choice(linear.shape[1], 500, replace=False)
        rows = np.unique(np.linspace(0, len(linear) - 1, most or len(linear)).astype(int))
        for kind, values in made.items():
            for place, (matrix, lengths) in enumerate(
                ((values, file.lengths), (values[:, few], file.lengths[few]))
            ):
                good = np.ptp(matrix, axis=1) > 0
                if place == 0:
                    no = outcome(matrix[good], lengths) == "refused"
                    tally[kind][0].append(no)
                    if not no:
                        print(f"  accepted as a matrix: {file.name}, {kind}")
                for row in rows[good[rows]]:
                    no = outcome(matrix[row], lengths) == "refused"
                    tally[kind][place + 1].append(no)
    print(f"{'refused, %':36s}   matrix   column   column of 500 genes")
    for kind, (matrices, columns, panels) in tally.items():
        print(
            f"{kind:36s} {100 * np.mean(matrices):8.2f} {100 * np.mean(columns):8.2f} "
            f"{100 * np.mean(panels):8.2f}   of {len(matrices)}, {len(columns)}, {len(panels)}; "
            f"columns accepted: {np.sum(~np.array(columns))}, {np.sum(~np.array(panels))}"
        )


def units_of(counts: Values, lengths: Values) -> dict[str, Values]:
    """Counts of samples in every unit and on several scales, by their definitions."""
    million = counts.sum(axis=1, keepdims=True) / 1e6
    rate = counts / lengths
    tpm = rate / rate.sum(axis=1, keepdims=True) * 1e6
    quartile = np.array([[np.quantile(row[row > 0], 0.75)] for row in counts])
    logs: dict[str, Callable[[Values], Values]] = {
        "log2(tpm+1)": lambda x: np.log2(x + 1),
        "ln(tpm+1)": np.log1p,
        "log10(tpm+1)": lambda x: np.log10(x + 1),
        "log2(tpm+0.001)": lambda x: np.log2(x + 0.001),
    }
    return {
        "counts": counts,
        "cpm": counts / million,
        "rsem_normalized": counts / quartile * 1000,
        "tpm": tpm,
        "fpkm": rate * 1e3 / million,
        **{name: log(tpm) for name, log in logs.items()},
        "log2(fpkm+1)": np.log2(rate * 1e3 / million + 1),
        "ln(fpkm+1)": np.log1p(rate * 1e3 / million),
        "log2(counts+1)": np.log2(counts + 1),
        "ln(counts+1)": np.log1p(counts),
        "z-scores": REFUSED["z-score per gene"](np.log2(tpm + 1)),
    }


def converted(corpus: Path) -> Iterator[tuple[dict[str, Values], Values]]:
    """Twenty samples of each count file in every unit, and the lengths of their genes."""
    for file in files(corpus):
        if file.name.split(".")[0] in CONVERTED and "counts" in file.unit:
            known = ~np.isnan(file.lengths) & ~np.isnan(file.values).any(axis=0)
            rows = np.unique(np.linspace(0, len(file.values) - 1, SAMPLES).astype(int))
            lengths = file.lengths[known]
            yield units_of(file.values[rows][:, known].astype(np.float64), lengths), lengths


def _table(title: str, cells: dict[tuple[str, str], str], names: list[str]) -> None:
    print(f"\n{title}")
    width = max(len(name) for name in names) + 1
    print(" " * width + " ".join(f"{name[:15]:>15s}" for name in names))
    for name in names:
        row = " ".join(f"{cells.get((name, other), '-'):>15s}" for other in names)
        print(f"{name:{width}s}{row}")


def mixtures(corpus: Path) -> None:
    """Print how often a second unit is noticed: half / one of twenty / one in a later block."""
    rates: dict[tuple[str, str], list[list[bool]]] = defaultdict(lambda: [[], [], []])
    for units, lengths in converted(corpus):
        for one, values in units.items():
            if one == "z-scores":
                continue
            call = detect_unit(values, lengths=lengths)
            for other, second in units.items():
                if other == one:
                    continue
                half, single = values.copy(), values.copy()
                half[1::2] = second[1::2]
                single[7 % len(single)] = second[7 % len(single)]
                noticed = rates[one, other]
                noticed[0].append(outcome(half, lengths) != "silent")
                noticed[1].append(outcome(single, lengths) != "silent")
                noticed[2] += [bool(odd_samples(row, call, lengths)) for row in second]
    cells = {
        pair: "/".join(f"{100 * np.mean(kind):.0f}" for kind in kinds)
        for pair, kinds in rates.items()
    }
    names = [*dict.fromkeys(name for pair in cells for name in pair)]
    _table(
        "noticed, %: half / one of 20 / one in a later block (row: file, column: other)",
        cells,
        names,
    )


def overrides(corpus: Path) -> None:
    """Print what becomes of a wrong declaration: refused / warned / silent."""
    tally: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for units, lengths in converted(corpus):
        for truth, values in units.items():
            for declared in units:
                if "z-scores" not in (truth, declared):
                    tally[truth, declared].update(
                        outcome(row.astype(np.float32), lengths, declared) for row in values
                    )
    cells = {
        pair: "/".join(
            f"{100 * told[what] / told.total():.0f}" for what in ("refused", "warned", "silent")
        )
        for pair, told in tally.items()
    }
    names = [*dict.fromkeys(pair[0] for pair in cells)]
    _table("declared, %: refused / warned / silent (row: truth, column: declared)", cells, names)


def simulated(seeds: int) -> None:
    """Print how often simulated pipelines are read right, and centred ones refused."""
    print(f"\n{'right, % (matrix, alone)':36s}  unit          scale         divided       warned")
    total = []
    for name, pipeline in PIPELINES.items():
        right: tuple[list[tuple[bool, ...]], list[tuple[bool, ...]]] = ([], [])
        for seed in range(SEED, SEED + seeds):
            values, lengths = pipeline.values(seed)
            for place, rows in ((0, values), *((1, row) for row in values[:3])):
                try:
                    call = detect_unit(np.asarray(rows, np.float32), lengths=lengths)
                except SpecformerError as error:
                    print(f"  {name} refused: {error}")
                    right[place].append((False,) * 4)
                    continue
                divided = pipeline.divided in (None, call.length_normalised)
                warned = bool(call.warnings) == pipeline.warned
                scale = call.scale.startswith(pipeline.scale)
                right[place].append((call.unit in pipeline.units, scale, divided, warned))
        both = [100 * np.mean(part, axis=0) for part in right]
        total += right[0] + right[1]
        print(f"{name:36s}" + "".join(f"  {a:5.0f} {b:5.0f} " for a, b in zip(*both, strict=True)))
    print(f"{'all':36s}" + "".join(f"  {x:5.1f}       " for x in 100 * np.mean(total, axis=0)))


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder with expression/")
    parser.add_argument("--no-lengths", action="store_true", help="detect without gene lengths")
    parser.add_argument("--most", type=int, default=0, help="refused: columns a file (0: all)")
    parser.add_argument("--seeds", type=int, default=3, help="simulated libraries a pipeline")
    parts = ("alone", "refused", "mixtures", "overrides", "simulated")
    parser.add_argument("--part", choices=parts, nargs="*", default=parts)
    options = parser.parse_args()
    if "alone" in options.part:
        alone(options.corpus, not options.no_lengths)
    if "refused" in options.part:
        refused(options.corpus, options.most)
    if "mixtures" in options.part:
        mixtures(options.corpus)
    if "overrides" in options.part:
        overrides(options.corpus)
    if "simulated" in options.part:
        simulated(options.seeds)


if __name__ == "__main__":
    main()
