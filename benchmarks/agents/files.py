"""Write profiles as a user's files look; nothing in them tells whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specformer_encoder.genes import vocabulary

FloatArray = npt.NDArray[np.float32]

READS = (15e6, 60e6)
FORMATS = ("tpm", "counts", "fpkm", "log2(tpm+1)")


def names(n: int, *, first: int = 1) -> list[str]:
    """Return sample names that hide everything.

    Examples
    --------
    >>> names(2, first=4)
    ['sample_4', 'sample_5']
    """
    return [f"sample_{number}" for number in range(first, first + n)]


def write_format(
    path: Path,
    form: str,
    samples: Sequence[str],
    values: FloatArray,
    random: np.random.Generator,
) -> Path:
    """Write profiles in one of `FORMATS`.

    Parameters
    ----------
    path
        The file to make, tab-separated.
    samples
        n names.
    values
        (n, V) linear expression, each summing to 10⁶; genes that one of them lacks are left out.
    random
        Decides the sequencing depth, where there is one.
    """
    if form == "counts":
        return _counts(path, samples, values, random)
    symbols = vocabulary().symbols
    if form == "tpm":
        return _table(path, samples, values, symbols, header="gene_name", decimals=4)
    if form == "fpkm":
        # TPM is FPKM scaled to a sum of 10⁶; a library of FPKM sums to less than half of that.
        scale = random.uniform(0.25, 0.6, (len(values), 1)).astype(np.float32)
        return _table(path, samples, values * scale, symbols, header="gene_name", decimals=4)
    if form == "log2(tpm+1)":
        return _table(path, samples, np.log2(values + 1), symbols, header="gene_name", decimals=5)
    raise ValueError(f"{form!r} is none of {', '.join(FORMATS)}")


def write_z_scores(path: Path, samples: Sequence[str], values: FloatArray) -> Path:
    """Write what cannot be embedded: each gene standardised over the samples."""
    logs = np.log2(values + 1)
    spread = logs.std(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = np.where(spread > 0, (logs - logs.mean(axis=0)) / spread, np.nan)
    return _table(path, samples, scores, vocabulary().symbols, header="gene", decimals=4)


def write_foreign(path: Path, samples: Sequence[str], values: FloatArray) -> Path:
    """Write what cannot be embedded: genes of another species, by their Ensembl ids."""
    ids = [gene.replace("ENSG", "ENSMUSG") for gene in vocabulary().ensembl_ids]
    return _table(path, samples, values, ids, header="gene_id", decimals=4)


def _counts(
    path: Path, samples: Sequence[str], values: FloatArray, random: np.random.Generator
) -> Path:
    """Whole reads by versioned Ensembl id; reads fall on long transcripts."""
    expected = values * vocabulary().lengths
    depth = random.uniform(*READS, (len(values), 1))
    reads = np.round(expected / np.nansum(expected, axis=1, keepdims=True) * depth)
    ids = [f"{gene}.{place % 17 + 1}" for place, gene in enumerate(vocabulary().ensembl_ids)]
    return _table(path, samples, reads, ids, header="gene_id", decimals=0)


def _table(
    path: Path,
    samples: Sequence[str],
    values: npt.NDArray[np.floating],
    genes: Sequence[str],
    *,
    header: str,
    decimals: int,
) -> Path:
    known = np.flatnonzero(~np.isnan(values).any(axis=0))
    lines = ["\t".join([header, *samples])]
    for gene in known:
        cells = (f"{value:.{decimals}f}" for value in values[:, gene])
        lines.append("\t".join([genes[int(gene)], *cells]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
