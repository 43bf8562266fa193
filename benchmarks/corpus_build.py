"""What it takes to build a corpus of TCGA's size: memory, time and disk.

Writes a synthetic download folder in the layout of UCSC Xena: the same samples in five units, one
gzipped TSV each (genes × samples), and the phenotype table. The values are cheap to draw and
faithful to their units: TPM sum to a million, counts grow with gene length, the logarithms have
Xena's offsets, the batch-adjusted values have small negatives. Then `specformer data build` runs in
a process of its own.

    python benchmarks/corpus_build.py --samples 500
    python benchmarks/corpus_build.py --keep DIR       # 11,000 × 60,000 × 5: 10 GB of input

Peak memory is the operating system's for the whole process, mapped file pages included.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.disease_names import TCGA_STUDIES
from specformer_encoder.genes import vocabulary

#: View → file as Xena names it.
FILES = {
    "tpm": "tcga_RSEM_gene_tpm.gz",
    "fpkm": "tcga_RSEM_gene_fpkm.gz",
    "expected_counts": "tcga_gene_expected_count.gz",
    "rsem_normalized": "tcga_RSEM_Hugo_norm_count.gz",
    "rsem_batch_adjusted": "EB++AdjustPANCAN_IlluminaHiSeq_RNASeqV2.geneExp.xena.gz",
}
DISEASES = list(TCGA_STUDIES)[:8]
#: Values are written on a grid of thousandths from here up, seven characters and a tab each.
LOWEST, HIGHEST = -10.0, 40.0
SILENT = np.log2(0.001)

Array = npt.NDArray[np.float64]


def cells() -> npt.NDArray[np.bytes_]:
    """Every value of the grid as text of one width, so that a row is one look-up."""
    numbers = np.arange(round((HIGHEST - LOWEST) * 1000) + 1) / 1000 + LOWEST
    table = np.array([f"{number:.6f}"[:7] + "\t" for number in numbers], "S8")
    table[code(np.array([SILENT]))] = f"{SILENT:.4f}\t".encode()
    return table


def code(values: Array) -> npt.NDArray[np.int64]:
    """Place of each value on the grid."""
    return np.rint((np.clip(values, LOWEST, HIGHEST) - LOWEST) * 1000).astype(np.int64)


def barcodes(samples: int) -> list[str]:
    """One primary tumour a patient; every eleventh is normal tissue."""
    names = []
    for number in range(samples):
        patient = f"TCGA-{'ABCDEFGH'[number % 8]}{number // 8 % 10}-{number:04X}"
        names.append(f"{patient}-{'11' if number % 11 == 10 else '01'}")
    return names


def write_inputs(folder: Path, samples: int, genes: int) -> None:
    """Write the five matrices and the phenotype table."""
    draw = np.random.default_rng(0)
    names = barcodes(samples)
    disease = np.arange(samples) % len(DISEASES)
    with gzip.open(folder / "TCGA_phenotype_denseDataOnlyDownload.tsv.gz", "wt") as table:
        table.write("sample\tsample_type_id\tsample_type\t_primary_disease\n")
        for name, number in zip(names, disease, strict=True):
            table.write(f"{name}\t{int(name[-2:])}\t\t{DISEASES[number]}\n")

    known = min(len(vocabulary()), genes)
    lengths = np.full(genes, 1500.0)
    lengths[:known] = vocabulary().lengths[:known]
    # log2 TPM; what is divided by length falls with it, as measured TPM does.
    level = draw.normal(2.0, 3.0, genes) - 0.5 * np.log2(lengths / 1500)
    level[known:] -= 5.0
    level = np.minimum(level, 12.0)
    spread = 0.7  # of a gene between samples, in doublings
    level += np.log2(0.98e6 / (2**level).sum()) - 0.5 * np.log(2) * spread**2
    # Counts grow with length; the upper quartile of the normalised ones is set to 1000.
    reads = 2**level * lengths / 40
    quartile = np.quantile(reads[:known], 0.75)

    text, places = cells(), draw.permutation(genes)
    header = ("sample\t" + "\t".join(names) + "\n").encode()
    with ExitStack() as stack:
        files = {
            view: stack.enter_context(gzip.open(folder / name, "wb", compresslevel=1))
            for view, name in FILES.items()
        }
        for file in files.values():
            file.write(header)
        for g in places:
            ids = f"ENSG{90_000_000_000 + g}.1", f"NOVEL{g}"
            if g < known:
                ids = f"{vocabulary().ensembl_ids[g]}.{g % 20 + 1}", vocabulary().symbols[g]
            shift = draw.normal(0, 1.0, len(DISEASES)) if g % 10 == 0 and level[g] < 8 else None
            log_tpm = level[g] + draw.normal(0, spread, samples)
            if shift is not None:
                log_tpm += shift[disease]
            tpm = np.where(log_tpm > -6, 2.0**log_tpm, 0)
            count = np.rint(100 * tpm * lengths[g] / 40) / 100
            normalised = np.log2(count * (1000 / quartile) + 1)
            adjusted = normalised + np.where(normalised < 0.3, draw.normal(0, 0.1, samples), 0)
            views = {
                "tpm": np.log2(tpm + 0.001),
                "fpkm": np.log2(0.4 * tpm + 0.001),
                "expected_counts": np.log2(count + 1),
                "rsem_normalized": normalised,
                "rsem_batch_adjusted": adjusted,
            }
            for view, values in views.items():
                row = text[code(values)].tobytes()[:-1]
                name = ids[view == "rsem_batch_adjusted"]
                files[view].write(b"%s\t%s\n" % (name.encode(), row))


def build(folder: Path, out: Path) -> dict[str, float]:
    """Run the build in a process of its own and say what it took."""
    started = time.perf_counter()
    main_call = "import sys; from specformer_mcp.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["data", "build", "--from", str(folder), "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-c", main_call, *words])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "the build failed"
    return {
        "peak_memory_mb": used.ru_maxrss / 1024,
        "wall_s": time.perf_counter() - started,
        "cpu_s": used.ru_utime + used.ru_stime,
        "input_mb": sum(f.stat().st_size for f in folder.iterdir()) / 1e6,
        "written_mb": sum(f.stat().st_size for f in out.iterdir()) / 1e6,
    }


def main() -> None:
    """Write the inputs, build, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=11_000)
    parser.add_argument("--genes", type=int, default=60_000)
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the inputs here, or use them"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch) / "xena"
        if not (folder / FILES["tpm"]).exists():
            folder.mkdir(parents=True, exist_ok=True)
            started = time.perf_counter()
            write_inputs(folder, options.samples, options.genes)
            print(f"inputs written in {time.perf_counter() - started:.0f} s", file=sys.stderr)
        out = Path(scratch) / "corpus"
        took = build(folder, out)
        corpus = Corpus.open(out)
        assert set(corpus.info["counts"]["by_unit"]) == set(FILES), "a view is missing"
        counts = {name: corpus.info["counts"][name] for name in ("profiles", "samples", "patients")}
        print(json.dumps(counts | {name: round(value, 1) for name, value in took.items()}))


if __name__ == "__main__":
    main()
