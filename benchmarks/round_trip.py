"""Embed one profile in every format and with every kind of identifier, and compare.

A real lung tumour (examples/) is written in every format that is read, in every compression, and
with every kind of gene identifier, read back and embedded. The cosine with the embedding of the
values that were written should be 1, since nothing is lost. Formats of counts get whole numbers,
those that declare a unit values in that unit, the others linear TPM.

    python benchmarks/round_trip.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from specformer_encoder.embedder import Embedder
from specformer_encoder.genes.table import CURRENT, lookup, vocabulary
from specformer_encoder.profiles import load_profiles, resolve
from specformer_encoder.raw import InMemory, RawMatrix

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
from format_writers import PACKERS, WRITERS, Format, pack, tsv  # noqa: E402

GOAL = 0.9999
SAMPLES = ["TCGA-44-3396-01A", "S2"]


def tables() -> dict[str, np.ndarray]:
    """Unit → (2, V) values of the tumour, NaN where it was not measured, and of a noisy copy."""
    profile = load_profiles(ROOT / "examples" / "luad_tumor.tsv.gz").values[0]
    tpm = np.stack([profile, profile * np.random.default_rng(1).lognormal(0, 0.3, len(profile))])
    tpm = (tpm / np.nansum(tpm, axis=1, keepdims=True) * 1e6).astype(np.float32)
    counts = np.round(tpm * vocabulary().lengths / 60).astype(np.float32)
    quartile = np.nanquantile(np.where(counts > 0, counts, np.nan), 0.75, axis=1, keepdims=True)
    return {
        "tpm": tpm,
        "fpkm": tpm * np.float32(0.4),
        "counts": counts,
        "rsem_normalized": (counts / quartile * 1000).astype(np.float32),
    }


def identifiers() -> dict[str, list[str]]:
    """Kind → V identifiers, "" where a gene has none of the kind."""
    genes = vocabulary()
    table = lookup("entrez")
    entrez = [""] * len(genes)
    for key, row in table.row.items():
        if table.gene[row] >= 0 and table.how[row] == CURRENT:
            entrez[table.gene[row]] = key
    symbols, ids = genes.symbols, genes.ensembl_ids
    return {
        "ensembl": ids,
        "ensembl.version": [f"{g}.{i % 17 + 1}" for i, g in enumerate(ids)],
        "symbol": symbols,
        "entrez": entrez,
        "symbol|entrez": [f"{s}|{e}" if e else "" for s, e in zip(symbols, entrez, strict=True)],
        "ensembl|symbol|type": [
            f"{g}.3|{s}|protein_coding" for g, s in zip(ids, symbols, strict=True)
        ],
    }


def in_table(form: Format, units: dict[str, np.ndarray]) -> str:
    """The unit of the values to write in a format."""
    return form.declares if form.declares in units else "counts" if form.whole else "tpm"


def trials(folder: Path) -> Iterator[tuple[str, Path, str, list[int]]]:
    """What is tried: its name, the file, the unit written, the vocabulary genes written."""
    units, kinds = tables(), identifiers()
    number = 0

    def write(form: Format, unit: str, kind: str) -> tuple[Path, list[int]]:
        nonlocal number
        values, names = units[unit], kinds[kind]
        kept = [i for i, n in enumerate(names) if n and not np.isnan(values[:, i]).any()]
        number += 1
        where = folder / str(number)
        where.mkdir()
        return form.write(where, [names[i] for i in kept], SAMPLES, values[:, kept]), kept

    for name, form in WRITERS.items():
        unit = in_table(form, units)
        path, kept = write(form, unit, "ensembl.version")
        yield name, path, unit, kept
        for ending in PACKERS if form.text else ():
            path, kept = write(form, unit, "ensembl.version")
            yield name + ending, pack(path, ending), unit, kept
    for kind in kinds:
        for unit in units:
            path, kept = write(Format(tsv, "matrix"), unit, kind)
            yield f"tsv of {unit}, {kind}", path, unit, kept


def main() -> int:
    """Print the trials that do not come back the same, and how many there were."""
    embedder, units = Embedder.load(), tables()
    expected: dict[tuple[str, int], np.ndarray] = {}
    lowest = (2.0, "")
    tried = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, path, unit, kept in trials(Path(folder)):
            key = (unit, len(kept))
            if key not in expected:
                raw = RawMatrix(
                    gene_ids=[vocabulary().ensembl_ids[i] for i in kept],
                    samples=SAMPLES,
                    cells=InMemory(units[unit][:, kept]),
                    source="memory",
                    format="memory",
                )
                expected[key] = embedder.embed(resolve(raw, unit=unit).values)
            found = load_profiles(path)
            vectors = embedder.embed(found.values)
            cosine = float((vectors * expected[key][: len(vectors)]).sum(axis=1).min())
            lowest = min(lowest, (cosine, name))
            tried += 1
            if cosine < GOAL:
                failed += 1
                print(f"{name:45s} cosine {cosine:.6f}; read as {found.unit.unit}")
    print(
        f"{tried} trials, {failed} below {GOAL}; the lowest cosine is {lowest[0]:.6f}, {lowest[1]}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
