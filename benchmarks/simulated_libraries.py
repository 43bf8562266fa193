"""Values as pipelines write them that the labelled corpus has no file of.

Real expression (the example samples of the repository) is brought to transcripts per million, each
simulated sample multiplies every gene by its own log-normal noise, and reads are drawn from
transcripts times length. What each pipeline then does with the reads is computed from its
definition. How often these units are found says more about other people's files than the corpus
does, on which the thresholds were set; but a simulation has only the irregularities that its author
thought of.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specformer_encoder.genes import vocabulary
from specformer_encoder.profiles import load_profiles

Values = npt.NDArray[np.float64]

EXAMPLES = Path(__file__).parents[1] / "examples"
#: Genes of GENCODE that are not in the vocabulary: little expressed, no length at hand.
_OTHER_GENES = 37_000


@dataclass(frozen=True)
class Library:
    """Simulated samples.

    Attributes
    ----------
    reads
        (S, G) whole numbers.
    tpm
        (S, G) transcripts per million of the same reads.
    true_lengths, lengths
        (G,) base pairs; the second is NaN for genes outside the vocabulary.
    draw
        Source of whatever else is random.
    """

    reads: Values
    tpm: Values
    true_lengths: Values
    lengths: Values
    draw: np.random.Generator

    @property
    def coding(self) -> npt.NDArray[np.bool_]:
        """(G,) genes of the vocabulary."""
        return ~np.isnan(self.lengths)


@functools.cache
def _parents() -> Values:
    """(S, G) real profiles over the vocabulary."""
    files = ("coadread_tumors.csv.gz", "luad_tumor.tsv.gz", "luad_normal.tsv.gz")
    return np.vstack([load_profiles(EXAMPLES / name).values for name in files]).astype(np.float64)


def library(
    seed: int, *, samples: int = 8, depth: tuple[float, float] = (1.5e7, 8e7), tags: bool = False
) -> Library:
    """Draw samples.

    Parameters
    ----------
    seed
        Everything follows from it.
    samples
        How many.
    depth
        Least and most reads of a sample.
    tags
        One read a molecule (UMI, 3' sequencing): gene length plays no part.
    """
    draw = np.random.default_rng(seed)
    coding = np.nan_to_num(_parents()[draw.integers(len(_parents()), size=samples)])
    others = np.exp(draw.normal(-3.0, 2.5, _OTHER_GENES)) * (draw.random(_OTHER_GENES) < 0.6)
    others *= draw.uniform(0.02, 0.25) * 1e6 / others.sum()
    molecules = np.hstack([coding, np.tile(others, (samples, 1))])
    molecules *= np.exp(draw.normal(0, 0.5, molecules.shape))
    other_lengths = np.exp(draw.normal(7.2, 0.8, _OTHER_GENES))
    lengths = np.concatenate([vocabulary().lengths, other_lengths])
    share = molecules if tags else molecules * lengths
    share = share / share.sum(axis=1, keepdims=True)
    wanted = np.exp(draw.uniform(*np.log(depth), size=(samples, 1)))
    reads = draw.poisson(share * wanted).astype(float)
    rate = reads if tags else reads / lengths
    known = np.concatenate([vocabulary().lengths, np.full(_OTHER_GENES, np.nan)])
    return Library(reads, rate / rate.sum(axis=1, keepdims=True) * 1e6, lengths, known, draw)


def cpm(of: Library) -> Values:
    """Counts per million of all reads."""
    return of.reads / of.reads.sum(axis=1, keepdims=True) * 1e6


def size_factors(of: Library) -> Values:
    """(S, 1) DESeq2's median of ratios."""
    used = (of.reads > 0).all(axis=0)
    logs = np.log(of.reads[:, used])
    return np.exp(np.median(logs - logs.mean(axis=0), axis=1, keepdims=True))


def normalised(of: Library) -> Values:
    """DESeq2's normalised counts."""
    return of.reads / size_factors(of)


def log_cpm(prior: float) -> Callable[[Library], Values]:
    """Log-CPM of edgeR: the prior count is scaled to the library, so its floor is common."""

    def make(of: Library) -> Values:
        depth = of.reads.sum(axis=1, keepdims=True)
        scaled = prior * depth / depth.mean()
        return np.log2((of.reads + scaled) / (depth + 2 * scaled) * 1e6)

    return make


def voom(of: Library) -> Values:
    """Log-CPM of limma's voom: half a read in each library."""
    return np.log2((of.reads + 0.5) / (of.reads.sum(axis=1, keepdims=True) + 1) * 1e6)


def tmm(of: Library) -> Values:
    """CPM over effective library sizes: TMM factors lie near one."""
    factors = np.exp(of.draw.normal(0, 0.12, (len(of.reads), 1)))
    return cpm(of) / factors


def quartile_scaled(of: Library) -> Values:
    """Counts scaled to a common upper quartile of the expressed genes."""
    quartiles = np.array([[np.quantile(row[row > 0], 0.75)] for row in of.reads])
    return of.reads / quartiles * quartiles.mean()


def fpkm(of: Library) -> Values:
    """Reads per kilobase and million."""
    return cpm(of) / of.true_lengths * 1e3


def shared_reads(share: float, digits: int) -> Callable[[Library], Values]:
    """Expected counts: in a share of the genes some reads belong to another gene as well."""

    def make(of: Library) -> Values:
        uncertain = of.draw.random(of.reads.shape[1]) < share
        moved = np.where(uncertain, of.draw.normal(0, 0.4, of.reads.shape), 0.0)
        return np.where(of.reads > 0, np.maximum(np.round(of.reads + moved, digits), 0), 0.0)

    return make


def coverage(of: Library) -> Values:
    """Sums of base coverage (recount3): reads of about 2 × 100 bases, cut at the exon's ends."""
    return np.round(of.reads * of.draw.normal(185.0, 10.0, of.reads.shape))


def vst(of: Library) -> Values:
    """DESeq2's variance-stabilising transform with parametric dispersion."""
    a0, a1, q = 0.08, 3.0, normalised(of)
    return np.log2((1 + a1 + 2 * a0 * q + 2 * np.sqrt(a0 * q * (1 + a1 + a0 * q))) / (4 * a0))


def combat(of: Library) -> Values:
    """Batch-adjusted log2(TPM+1): each gene moved by a little, so zeros fall below zero."""
    logs = np.log2(of.tpm + 1)
    batch = of.draw.normal(0, 0.25, (2, logs.shape[1])) * np.minimum(logs.mean(axis=0), 1.0)
    return logs + batch[np.arange(len(logs)) % 2]


def linear_combat(of: Library) -> Values:
    """Batch-adjusted FPKM: a few values end up a little below zero."""
    values = fpkm(of)
    low = (values > 0.05) & (values.mean(axis=0) < 3.0)
    return values + of.draw.normal(0, 0.4, values.shape) * np.where(low, values.std(axis=0), 0.0)


def quantile_normalised(of: Library) -> Values:
    """log2(TPM+1), every sample given the same distribution."""
    logs = np.log2(of.tpm + 1)
    target = np.sort(logs, axis=1).mean(axis=0)
    return target[np.argsort(np.argsort(logs, axis=1), axis=1)]


def one_gene_leads(of: Library) -> Values:
    """Counts of which one gene has 30 %."""
    values = of.reads.copy()
    values[:, np.argmax(values.mean(axis=0))] = np.round(values.sum(axis=1) * 0.43)
    return values


def array(of: Library) -> Values:
    """log₂ intensities of a microarray (RMA): background 2 to 5, no zeros, saturation at 14."""
    signal = 2.0 ** of.draw.normal(4.0, 0.7, of.tpm.shape) + 8 * of.tpm
    return np.minimum(np.log2(signal), 14.0)


def rarefied(of: Library) -> Values:
    """Counts of exactly a million reads each."""
    share = of.reads / of.reads.sum(axis=1, keepdims=True)
    return np.array([of.draw.multinomial(1_000_000, row) for row in share], float)
