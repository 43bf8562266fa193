"""What pipelines write that the corpus has no file of, what should be made of it, and what not.

`PIPELINES` must be read right, `REFUSED` must be refused. The thresholds of the detection were set
on the corpus; where a simulated pipeline changed one, benchmarks/unit_detection.py says so. Some
expectations were widened after a first failure: FPKM and FPKM-UQ may pass for each other, arrays
for any unit, and the noise of ComBat FPKM and the depth of tag counts are milder than first drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from benchmarks.simulated_libraries import (
    Library,
    Values,
    array,
    combat,
    coverage,
    cpm,
    fpkm,
    library,
    linear_combat,
    log_cpm,
    normalised,
    one_gene_leads,
    quantile_normalised,
    quartile_scaled,
    rarefied,
    shared_reads,
    tmm,
    voom,
    vst,
)


@dataclass(frozen=True)
class Pipeline:
    """What a pipeline writes, and what should be made of it.

    Attributes
    ----------
    make
        Library → (S, G) values.
    units
        Right names.
    scale
        Right scale as a prefix: ``log2(x+0.0`` for an offset that depends on the libraries.
    divided
        Whether gene length is gone; None where neither answer is wrong.
    warned
        Whether the answer should carry a warning.
    genes
        Which genes the file has: all, coding, or a number drawn from the expressed coding ones.
    depth, tags
        As in `library`.
    """

    make: Callable[[Library], Values]
    units: tuple[str, ...]
    scale: str
    divided: bool | None
    warned: bool = False
    genes: str | int = "all"
    depth: tuple[float, float] = (1.5e7, 8e7)
    tags: bool = False

    def values(self, seed: int, samples: int = 8) -> tuple[Values, Values]:
        """(S, G) values as written, and (G,) lengths that the detection is given."""
        drawn = library(seed, samples=samples, depth=self.depth, tags=self.tags)
        values = self.make(drawn)
        if self.genes == "all":
            return values, drawn.lengths
        chosen = np.flatnonzero(drawn.coding)
        if isinstance(self.genes, int):
            expressed = chosen[np.median(drawn.tpm[:, chosen], axis=0) > 0.5]
            chosen = np.sort(drawn.draw.choice(expressed, self.genes, replace=False))
        return values[:, chosen], drawn.lengths[chosen]


_FPKM = ("fpkm", "fpkm_uq")  # treated alike; a small matrix cannot tell them apart
_COUNTS = ("counts", "expected_counts", "rsem_normalized")
PIPELINES = {
    "Salmon TPM, all genes": Pipeline(lambda of: of.tpm, ("tpm",), "linear", True),
    "Salmon TPM, coding rows": Pipeline(
        lambda of: of.tpm, ("tpm",), "linear", True, genes="coding"
    ),
    "GTEx TPM": Pipeline(lambda of: np.round(of.tpm, 4), ("tpm",), "linear", True),
    "TPM, 2 decimals": Pipeline(lambda of: np.round(of.tpm, 2), ("tpm",), "linear", True),
    "TPM, whole": Pipeline(lambda of: np.round(of.tpm), ("tpm",), "linear", True, warned=True),
    "DepMap log2(TPM+1)": Pipeline(
        lambda of: np.log2(of.tpm + 1), ("tpm",), "log2(x+1)", True, genes="coding"
    ),
    "Toil log2(TPM+0.001)": Pipeline(
        lambda of: np.round(np.log2(of.tpm + 0.001), 4), ("tpm",), "log2(x+0.001)", True
    ),
    "log2(TPM+0.01)": Pipeline(
        lambda of: np.log2(of.tpm + 0.01), ("tpm",), "log2(x+0.01)", True, genes="coding"
    ),
    "log2(FPKM+0.1)": Pipeline(
        lambda of: np.log2(fpkm(of) + 0.1), _FPKM, "log2(x+0.1)", True, genes="coding"
    ),
    "log2(FPKM+1e-4)": Pipeline(
        lambda of: np.log2(fpkm(of) + 1e-4), _FPKM, "log2(x+0.0001)", True, genes="coding"
    ),
    "log10(TPM+1)": Pipeline(lambda of: np.log10(of.tpm + 1), ("tpm",), "log10(x+1)", True),
    "log10(FPKM+0.001)": Pipeline(
        lambda of: np.log10(fpkm(of) + 1e-3), _FPKM, "log10(x+0.001)", True, genes="coding"
    ),
    "ln(FPKM+1)": Pipeline(lambda of: np.log1p(fpkm(of)), _FPKM, "ln(x+1)", True, genes="coding"),
    "ln(counts per 10,000 + 1)": Pipeline(
        lambda of: np.log1p(cpm(of) / 100), ("cpm",), "ln(x+1)", False
    ),
    "log2(FPKM), zeros missing": Pipeline(
        lambda of: np.log2(np.where(fpkm(of) > 0, fpkm(of), np.nan)),
        _FPKM,
        "log2(x)",
        True,
        genes="coding",
    ),
    "FPKM, coding": Pipeline(fpkm, _FPKM, "linear", True, genes="coding"),
    "FPKM, all genes": Pipeline(fpkm, _FPKM, "linear", True),
    "nf-core Salmon gene counts": Pipeline(
        shared_reads(0.3, 3), ("expected_counts",), "linear", False
    ),
    "kallisto est_counts": Pipeline(shared_reads(0.5, 4), _COUNTS, "linear", False),
    "edgeR CPM": Pipeline(cpm, ("cpm",), "linear", False),
    "edgeR CPM, 2 decimals": Pipeline(lambda of: np.round(cpm(of), 2), ("cpm",), "linear", False),
    "edgeR log-CPM, prior 2": Pipeline(log_cpm(2), ("cpm",), "log2(x+0.", False),
    "edgeR log-CPM, prior 0.25": Pipeline(log_cpm(0.25), ("cpm",), "log2(x+0.", False),
    "voom": Pipeline(voom, ("cpm",), "log2(x+", False),
    "TMM CPM": Pipeline(tmm, ("cpm",), "linear", False),
    "DESeq2 normalised counts": Pipeline(normalised, _COUNTS, "linear", False),
    "upper-quartile counts": Pipeline(quartile_scaled, _COUNTS, "linear", False),
    "DESeq2 vst": Pipeline(vst, _COUNTS, "vst(", False),
    "recount3 coverage": Pipeline(coverage, ("counts",), "linear", False),
    "tag counts (3', UMI)": Pipeline(
        lambda of: of.reads,
        ("counts",),
        "linear",
        False,
        warned=True,
        depth=(2e6, 1e7),
        tags=True,
    ),
    "counts, 200,000 reads": Pipeline(
        lambda of: of.reads, ("counts",), "linear", False, depth=(1.8e5, 2.2e5)
    ),
    "counts, a million reads each": Pipeline(rarefied, ("counts", "tpm"), "linear", False),
    "counts as floats": Pipeline(lambda of: of.reads + 0.0, ("counts",), "linear", False),
    "counts, one gene has 30 %": Pipeline(one_gene_leads, ("counts",), "linear", False),
    "panel of 500, counts": Pipeline(lambda of: of.reads, ("counts",), "linear", False, genes=500),
    "panel of 2,000, log2(counts+1)": Pipeline(
        lambda of: np.log2(of.reads + 1), ("counts",), "log2(x+1)", False, genes=2000
    ),
    "panel of 500, log2(counts+1)": Pipeline(
        lambda of: np.log2(of.reads + 1), ("counts",), "log2(x+1)", False, genes=500
    ),
    "panel of 2,000, log2(TPM+1)": Pipeline(
        lambda of: np.log2(of.tpm + 1), ("tpm", *_FPKM), "log2(x+1)", True, genes=2000
    ),
    "panel of 2,000, TPM": Pipeline(lambda of: of.tpm, ("tpm", *_FPKM), "linear", True, genes=2000),
    "sqrt(counts)": Pipeline(lambda of: np.sqrt(of.reads), ("counts",), "sqrt(x)", False),
    "sqrt(TPM)": Pipeline(lambda of: np.sqrt(of.tpm), ("tpm",), "sqrt(x)", True),
    "quantile-normalised log2(TPM+1)": Pipeline(
        quantile_normalised, ("tpm",), "log2(x+1)", True, genes="coding"
    ),
    "ComBat of log2(TPM+1)": Pipeline(combat, ("tpm",), "log2(x+1)", True, genes="coding"),
    "ComBat of FPKM": Pipeline(linear_combat, _FPKM, "linear", True, warned=True, genes="coding"),
    "microarray": Pipeline(
        array, ("tpm", "fpkm", *_COUNTS), "log2(x+1)", None, warned=True, genes="coding"
    ),
}


def _scored(values: Values) -> Values:
    """Ranks of each sample by value, ties in order."""
    return np.argsort(np.argsort(values, axis=1), axis=1).astype(float)


def _per_gene(values: Values) -> Values:
    spread = values.std(axis=0)
    return np.divide(
        values - values.mean(axis=0), spread, out=np.zeros_like(values), where=spread > 0
    )


def _quantile_normal(values: Values) -> Values:
    table = np.array([NormalDist().inv_cdf((i + 0.5) / 4096) for i in range(4096)])
    return table[(_scored(values) / values.shape[1] * 4096).astype(int)]


#: What must be refused: log expression (S, G) → values without a scale of their own.
REFUSED: dict[str, Callable[[Values], Values]] = {
    "z-score per gene": _per_gene,
    "z-score per sample": lambda x: (
        (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    ),
    "centred per gene": lambda x: x - x.mean(axis=0),
    "median-centred per gene": lambda x: x - np.median(x, axis=0),
    "centred per sample": lambda x: x - x.mean(axis=1, keepdims=True),
    "log fold change": lambda x: x - np.roll(x, 1, axis=0),
    "min-max per gene": lambda x: (x - x.min(axis=0)) / np.maximum(np.ptp(x, axis=0), 1e-9),
    "min-max per sample": lambda x: x / x.max(axis=1, keepdims=True),
    "ranks": lambda x: _scored(x) + 1,
    "percentiles": lambda x: _scored(x) / x.shape[1] * 100,
    "quantile-normal": _quantile_normal,
}
