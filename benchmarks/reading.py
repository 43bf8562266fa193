"""How fast are files read, and in how much memory? A large matrix beside pyarrow alone, a GDC file.

The matrix (60,000 genes × 1,000 samples, gzipped TSV) is made up, in the layout of UCSC Xena; so is
the GDC STAR file (60,660 rows). Each run is a process of its own, and pyarrow.csv and SpecFormer
take turns, so that a busy machine is busy for both. Memory is the process's peak less what it held
after the imports, set against the block that is given back (genes × samples × 4 bytes).

    python benchmarks/reading.py [--genes 60000] [--samples 1000] [--runs 3]
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from specformer_encoder.genes.table import lookup, vocabulary

GDC_ROWS = 60_660


def write_matrix(path: Path, genes: int, samples: int) -> None:
    """A gzipped TSV of log-normal values, versioned Ensembl ids in the first column."""
    draw = np.random.default_rng(1)
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("sample\t" + "\t".join(f"TCGA-{i:04d}-01" for i in range(samples)) + "\n")
        for gene in gene_ids(genes):
            values = draw.lognormal(draw.normal(0, 2), 0.5, samples).round(4).tolist()
            file.write(gene + "\t" + "\t".join(map(str, values)) + "\n")


def gene_ids(number: int) -> list[str]:
    """Versioned ids of real genes, the vocabulary first, as an annotation has them."""
    known = vocabulary().ensembl_ids
    others = sorted(set(lookup("ensembl").row).difference(known))
    return [f"{gene}.4" for gene in [*known, *others][:number]]


def write_gdc(path: Path) -> None:
    """A GDC STAR gene-counts file as the portal gives it."""
    draw = np.random.default_rng(2)
    counts = draw.negative_binomial(0.3, 0.0003, GDC_ROWS)
    lines = ["# gene-model: GENCODE v36"]
    lines.append(
        "gene_id\tgene_name\tgene_type\tunstranded\tstranded_first\tstranded_second\t"
        "tpm_unstranded\tfpkm_unstranded\tfpkm_uq_unstranded"
    )
    totals = ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
    lines += [f"{name}\t\t\t1234567\t2345678\t3456789\t\t\t" for name in totals]
    for gene, count in zip(gene_ids(GDC_ROWS), counts, strict=True):
        tpm = count / 40
        lines.append(
            f"{gene}\tNAME\tprotein_coding\t{count}\t{count // 2}\t{count - count // 2}\t"
            f"{tpm:.4f}\t{tpm / 3:.4f}\t{tpm / 2:.4f}"
        )
    path.write_text("\n".join(lines) + "\n")


PRELUDE = """
import json, sys, time
from pathlib import Path
import numpy, pyarrow, pyarrow.csv
from specformer_encoder import profiles, readers
def held(what):
    lines = open("/proc/self/status")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))
path = Path(sys.argv[1])
before = held("VmRSS")
wall, cpu = time.perf_counter(), time.process_time()
"""
EPILOGUE = """
print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu,
                  "memory": held("VmHWM") - before}))
"""
PROGRAMS = {
    "pyarrow.csv alone": "pyarrow.csv.read_csv(path, parse_options="
    "pyarrow.csv.ParseOptions(delimiter='\\t'))",
    "read": "readers.read(path).rows(0, 1)",
    "profiles by blocks": "for block in profiles.iter_profiles(path, unit='tpm'): pass",
}


def measure(program: str, path: Path) -> dict[str, float]:
    """Run one program on a file in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program + EPILOGUE, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def report_matrix(path: Path, block: int, runs: int) -> None:
    """Print the seconds and the memory of each program, and the ratios within each round."""
    rounds = [{name: measure(code, path) for name, code in PROGRAMS.items()} for _ in range(runs)]
    for name in PROGRAMS:
        ratio = [r[name]["wall"] / r["pyarrow.csv alone"]["wall"] for r in rounds]
        print(
            f"{name:20s} wall {min(r[name]['wall'] for r in rounds):6.2f} s   "
            f"cpu {min(r[name]['cpu'] for r in rounds):6.2f} s   "
            f"time / pyarrow {np.median(ratio):.2f} ({min(ratio):.2f} to {max(ratio):.2f})   "
            f"memory / block {max(r[name]['memory'] for r in rounds) / block:.2f}"
        )


def report_gdc(path: Path) -> None:
    """Print the time of reading and of resolving one GDC file, first and later calls."""
    from specformer_encoder.profiles import resolve
    from specformer_encoder.readers import read

    times: dict[str, list[float]] = {"read": [], "resolve": [], "both": []}
    for _ in range(8):
        start = time.perf_counter()
        raw = read(path)
        middle = time.perf_counter()
        resolve(raw)
        end = time.perf_counter()
        for name, took in zip(times, (middle - start, end - middle, end - start), strict=True):
            times[name].append(1000 * took)
    for name, took in times.items():
        print(
            f"GDC file, {name:8s} first {took[0]:6.0f} ms   later median {np.median(took[1:]):.0f} "
            f"ms   least {min(took):.0f} ms"
        )


def main() -> None:
    """Write the files and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=int, default=60_000)
    parser.add_argument("--samples", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        gdc = Path(folder) / "a.rna_seq.augmented_star_gene_counts.tsv"
        write_gdc(gdc)
        report_gdc(gdc)
        matrix = Path(folder) / "matrix.tsv.gz"
        write_matrix(matrix, options.genes, options.samples)
        print(f"{options.genes} × {options.samples}: {matrix.stat().st_size / 1e6:.0f} MB")
        report_matrix(matrix, options.genes * options.samples * 4, options.runs)


if __name__ == "__main__":
    main()
