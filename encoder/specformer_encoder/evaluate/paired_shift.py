r"""What a pipeline does to ranks, learnt from samples that were measured in two.

RSEM and the read counts of the GDC give one tumour two rank profiles, and the difference is much
the same in every tumour. For samples s measured in the pipelines a and b,

    δ(a → b) = mean over s of (r_b(s) − r_a(s))            r: rank quantiles over the genes

is what a profile of pipeline a lacks to look like one of b. Adding each training profile once
more, shifted, shows a classifier types in a pipeline in which it has never met them.

The pipeline of a profile is read off its unit: RSEM in any scale, read counts, or length-scaled
counts (FPKM, FPKM-UQ, TPM). Values corrected within tissues (ComBat) belong to none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.ordering import quantile_values

FloatArray = npt.NDArray[np.float32]

#: Fewer samples than this measured in two pipelines teach nothing.
MINIMUM_SAMPLES = 20
RSEM, COUNTS, SCALED = "RSEM", "read counts", "FPKM or TPM"


def quantifier_of(unit: str) -> str | None:
    """The pipeline that a unit tells of, None for values that were corrected within tissues.

    Examples
    --------
    >>> quantifier_of("rsem_log2"), quantifier_of("fpkm_uq"), quantifier_of("counts")
    ('RSEM', 'FPKM or TPM', 'read counts')
    """
    if "combat" in unit:
        return None
    if unit.startswith("rsem"):
        return RSEM
    return COUNTS if unit == "counts" else SCALED


def vial(label: SampleLabel) -> str:
    """Characters 14 and 15 of a TCGA barcode, which tell a primary tumour from a metastasis.

    Shorter barcodes leave it out, and then the patient has to do; the string is empty.
    """
    return label.barcode[13:15] if label.barcode.startswith("TCGA-") else ""


def by_sample(labels: Sequence[SampleLabel], rows: Iterable[int]) -> list[list[int]]:
    """Rows grouped by tissue sample, where the patient is known; contradicting groups left out."""
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for row in rows:
        label = labels[row]
        if label.patient:
            groups[label.patient, label.tissue, label.sample_type].append(int(row))
    return [
        group
        for group in groups.values()
        if len(group) > 1 and len({vial(labels[row]) for row in group} - {""}) <= 1
    ]


@dataclass(frozen=True, slots=True)
class PairedShift:
    """How ranks move between pipelines.

    Attributes
    ----------
    samples
        (from, to) → number of samples measured in both.
    shifts
        (from, to) → (V,) mean difference of the rank quantiles, 0 where no sample measures a gene
        in both; only for pairs with `MINIMUM_SAMPLES`.
    """

    samples: dict[tuple[str, str], int]
    shifts: dict[tuple[str, str], FloatArray]

    def partner(self, pipeline: str | None) -> str | None:
        """The pipeline with which this one shares most samples, None if it shares too few."""
        found = [(self.samples[pair], pair[1]) for pair in self.shifts if pair[0] == pipeline]
        return max(found)[1] if found else None


def learn(
    labels: Sequence[SampleLabel], quantiles: npt.NDArray[np.uint8], rows: Iterable[int]
) -> PairedShift:
    """Learn the shifts from the samples that some rows measure in two pipelines.

    Parameters
    ----------
    labels
        N labels.
    quantiles
        (N, V) rank quantiles.
    rows
        Rows of genome-wide training profiles, tumour and normal.
    """
    total: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
    known: dict[tuple[str, str], npt.NDArray[np.int64]] = {}
    samples: dict[tuple[str, str], int] = defaultdict(int)
    for group in by_sample(labels, rows):
        profile = {}
        for name in {quantifier_of(labels[row].unit) for row in group} - {None}:
            of = [row for row in group if quantifier_of(labels[row].unit) == name]
            # NaN where any of them does not measure the gene: the mean must be of the same ones.
            profile[str(name)] = quantile_values(quantiles[of]).mean(axis=0)
        for pair in permutations(sorted(profile), 2):
            difference = profile[pair[1]] - profile[pair[0]]
            both = ~np.isnan(difference)
            samples[pair] += 1
            total[pair] = total.get(pair, 0) + np.where(both, difference, 0)
            known[pair] = known.get(pair, 0) + both
    enough = [pair for pair, n in samples.items() if n >= MINIMUM_SAMPLES]
    shifts = {p: (total[p] / np.maximum(known[p], 1)).astype(np.float32) for p in enough}
    return PairedShift(dict(samples), shifts)
