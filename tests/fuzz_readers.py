"""Fuzz every reader with coverage-guided inputs: no crash, no hang, always an error of our own.

    pip install 'specformer-mcp[dev,fuzz]'
    python tests/fuzz_readers.py --seconds 3600 --out runs/fuzz

Each group of formats gets its share of the CPU time in a process of its own (libFuzzer through
atheris). Inputs start from small valid files of the group. What came is read to the end, and its
genes and unit are resolved; anything but a `SpecformerError` that says what to do is a finding, and
so is an input that takes longer than 25 s or more than 2 GB, or ends the process. One input for
each place in the code stays in the folder of the group, as `finding-…` with its traceback, or as
libFuzzer's `crash-…`, `timeout-…` or `oom-…`; `--replay FILE --groups GROUP` runs one again.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np

#: Group → the formats (of `format_writers.WRITERS`) that its inputs start from.
GROUPS = {
    "delimited": ["tsv", "csv", "csv2", "csv_by_sample"],
    "quantifiers": [
        *("star", "gdc_star", "htseq", "featurecounts", "rsem", "tcga_rsem"),
        *("tcga_rsem_normalized", "salmon", "kallisto"),
    ],
    "annotated": ["gct_1_2", "gct_1_3", "series_matrix"],
    "packed": ["tsv.gz", "tsv.bz2", "tsv.zst", "tsv.zip"],
    "columnar": ["parquet", "feather", "arrow_stream"],
    "hdf5": ["h5ad", "h5ad_csr", "h5ad_csc"],
    "mtx": ["mtx", "mtx_features", "mtx_barcodes"],
}
TOKENS = [
    *("\\x09", ",", ";", "\\x0a", "\\x0d\\x0a", "\\x22", "NA", "NaN", "-inf", "1e400", "-1", "0,5"),
    *("1.234,5", "1,234", "#1.2\\x0a", "#1.3\\x0a", "N_unmapped", "__no_feature", "gene_id"),
    *("ENSG00000141510.18", "TP53|7157", "1-Mar", "ENST00000269305.9", "\\xef\\xbb\\xbf"),
    *("%%MatrixMarket matrix coordinate real general\\x0a", "999999999", "\\x00", "TPM", "Name"),
]
FEWEST_GENES = 3
SECONDS_AN_INPUT = 25  # of wall time, on a machine that may be busy
MEGABYTES = 2048
MINIMUM_SECONDS = 4


def small_table() -> tuple[list[str], list[str], np.ndarray]:
    """A dozen real genes, three samples."""
    genes = [
        *("ENSG00000000003.15", "ENSG00000000005.6", "ENSG00000000419.13", "ENSG00000000457.14"),
        *("ENSG00000141510.18", "ENSG00000146648.18", "ENSG00000075624.16", "ENSG00000111640.15"),
        *("ENSG00000136997.22", "ENSG00000012048.24", "ENSG00000139618.17", "ENSG00000133703.13"),
    ]
    draw = np.random.default_rng(1)
    values = draw.negative_binomial(1, 0.01, (3, len(genes))).astype(np.float32)
    return genes, ["TCGA-05-4244-01A", "S2", "S3"], values


def write_seeds(group: str, folder: Path) -> None:
    """Write one valid file a format into `folder`."""
    import format_writers

    genes, samples, values = small_table()
    for name in GROUPS[group]:
        with tempfile.TemporaryDirectory() as scratch:
            where = Path(scratch)
            form, _, packing = name.partition(".")
            if form.startswith("mtx"):
                path = format_writers.mtx(where, genes, samples, values, packed=False)
                part = form.removeprefix("mtx_").replace("mtx", "matrix")
                found = next(p for p in path.parent.iterdir() if p.name.startswith(part))
            elif form in ("salmon", "kallisto"):
                found = where / form
                found.write_text(transcript_table(form))
            else:
                found = format_writers.WRITERS[form].write(where, genes, samples, values)
                found = format_writers.pack(found, f".{packing}") if packing else found
            (folder / name).write_bytes(found.read_bytes())


def transcript_table(form: str) -> str:
    """A few real transcripts as the quantifier writes them."""
    transcripts = ["ENST00000269305.9", "ENST00000275493.7", "ENST00000646664.1"]
    headers = {
        "salmon": "Name\tLength\tEffectiveLength\tTPM\tNumReads",
        "kallisto": "target_id\tlength\teff_length\test_counts\ttpm",
    }
    rows = [f"{name}\t1500\t1320.5\t{i}.25\t{i * 7}.5" for i, name in enumerate(transcripts)]
    return "\n".join([headers[form], *rows]) + "\n"


def place(group: str, content: bytes, folder: Path) -> Path:
    """Put an input where its reader looks for it, and return the path to read."""
    if group != "mtx":
        path = folder / {"quantifiers": "quant.sf", "hdf5": "m.h5ad"}.get(group, "m.tsv")
        path.write_bytes(content)
        return path
    import format_writers

    matrix = format_writers.mtx(folder, *small_table(), packed=False)
    part = "matrix" if content.startswith(b"%") else ("features", "barcodes")[len(content) % 2]
    next(p for p in folder.iterdir() if p.name.startswith(part)).write_bytes(content)
    return matrix


def check(path: Path) -> str:
    """Read and resolve one file.

    Returns
    -------
    ``read``, ``refused`` (an error of our own) or ``resolved``.

    Raises
    ------
    AssertionError
        If an error of our own does not name the file, gives away the folder, or says no remedy.
    """
    from specformer_encoder import genes, profiles
    from specformer_encoder.errors import SpecformerError
    from specformer_encoder.readers import Limits, read

    # Small inputs cannot hold 500 genes; what comes after the count is to be reached as well.
    genes.MINIMUM_GENES = profiles.MINIMUM_GENES = FEWEST_GENES  # type: ignore[attr-defined,misc]
    limits = Limits(
        max_bytes=1_000_000,
        max_inflated_bytes=20_000_000,
        max_samples=2_000,
        max_genes=20_000,
        memory_bytes=100_000,
    )
    outcome = "refused"
    try:
        raw = read(path, limits=limits)
        outcome = "read"
        assert raw.values.shape == (len(raw.samples), len(raw.gene_ids))
        for block in profiles.resolve_blocks(raw, block=7):
            assert (block.values[~np.isnan(block.values)] >= 0).all()
        outcome = "resolved"
    except SpecformerError as error:
        assert error.remedy.endswith("."), error.remedy
        assert error.problem, error
        assert str(path.parent) not in error.problem, error.problem
    return outcome


def keep_finding(error: Exception, data: bytes, out: Path) -> None:
    """Keep the first input that fails at a place in the code, and go on."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    own = [f for f in traceback.extract_tb(error.__traceback__) if "specformer" in f.filename][-1:]
    at = "-".join(f"{Path(f.filename).stem}-{f.lineno}" for f in [*own, frame])
    path = out / f"finding-{type(error).__name__}-{at}"
    if not path.exists():
        path.write_bytes(data)
        path.with_name(f"{path.name}.txt").write_text("".join(traceback.format_exception(error)))


def fuzz(group: str, out: Path, arguments: list[str]) -> None:
    """Run libFuzzer on one group in this process; does not return."""
    import atheris

    with atheris.instrument_imports(include=["specformer_encoder"]):
        import specformer_encoder.profiles
        import specformer_encoder.readers  # noqa: F401 - instrumented while it is imported
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_memory_folder()))

    def one(data: bytes) -> None:
        try:
            check(place(group, data, folder))
        except Exception as error:
            keep_finding(error, data, out)

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def _memory_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - files only in memory


def run_group(group: str, out: Path, seconds: int) -> str:
    """Fuzz one group in a process of its own and return a line on it."""
    corpus, seeds = out / group / "corpus", out / group / "seeds"
    for folder in (corpus, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    write_seeds(group, seeds)
    tokens = out / "tokens.dict"
    tokens.write_text("".join(f'"{token}"\n' for token in TOKENS))
    inputs, covered = 0, "?"
    before = _cpu_of_children()
    while (left := seconds - int(_cpu_of_children() - before)) > MINIMUM_SECONDS:
        done = subprocess.run(
            [
                *(sys.executable, __file__, "--group", group, str(out / group), "--"),
                *(str(corpus), str(seeds), f"-artifact_prefix={out / group}/", f"-dict={tokens}"),
                *(f"-max_total_time={left}", f"-timeout={SECONDS_AN_INPUT}", "-max_len=20000"),
                *(f"-rss_limit_mb={MEGABYTES}", "-print_final_stats=1", "-detect_leaks=0"),
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        with (out / group / "log.txt").open("a") as log:
            log.write(done.stdout + done.stderr)
        inputs += sum(map(int, re.findall(r"number_of_executed_units:\s*(\d+)", done.stderr)))
        covered = (re.findall(r"cov: (\d+)", done.stderr) or [covered])[-1]
    cpu = _cpu_of_children() - before
    kinds = re.compile(r"(finding|crash|timeout|oom)-.*(?<!\.txt)")
    findings = [path.name for path in (out / group).iterdir() if kinds.fullmatch(path.name)]
    return (
        f"{group:12s} {cpu:6.0f} CPU-s  {inputs:>10,} inputs  {covered:>6s} branches  "
        f"{len(findings)} findings"
    )


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Fuzz all groups one after the other, or replay one input."""
    if "--group" in sys.argv[:2]:
        fuzz(sys.argv[2], Path(sys.argv[3]), sys.argv[5:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3600, help="CPU seconds in all")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--groups", nargs="*", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--replay", type=Path, help="one input; --groups names its group")
    options = parser.parse_args()
    if options.replay:
        with tempfile.TemporaryDirectory() as folder:
            print(check(place(options.groups[0], options.replay.read_bytes(), Path(folder))))
        return
    for group in options.groups:
        share = options.seconds // len(options.groups)
        print(run_group(group, options.out.resolve(), share), flush=True)


if __name__ == "__main__":
    main()
