r"""Tumours simulated from the published median of their cohort.

Of some cancer types a corpus holds hardly a tumour, while the median expression of the whole
cohort is published. A tumour of such a type t, as a pipeline p would have quantified it, is put
together from three parts that add up in log expression, gene by gene:

    y = m(t) + d(p) + r,    y = log2(x + 0.1),    x: linear expression, each profile summing to 10⁶

m(t)
    The published cohort median. The logarithm is monotone, so the median of the logs is the log of
    the median.
d(p)
    What pipeline p makes of published medians: the mean over the other types s of (mean y of the
    real tumours of s in p) − m(s). Types weigh n / (n + 2), n their tumours in p: the inverse
    variance of a type's mean where tumours spread about twice as much around their type as types
    do around the shift (DerSimonian and Laird, Controlled Clinical Trials 7:177-188, 1986). A
    shift that is an average over many types tells how p differs and nothing about one type.
r
    The whole residual of one real tumour of another type: y minus the mean of its own type and
    pipeline, times √(n / (n − 1)) for the mean that it took part in. Purity, stroma, immune cells
    and proliferation move genes together and do so in every solid tumour; drawing whole residual
    vectors keeps that gene–gene structure and the spread without a model of either.

What falls below zero expression is silent. A gene is unmeasured (NaN) where p does not measure it
or no median is published. No tumour of type t itself is looked at, so the method can be judged by
leaving out types that do have tumours; see `evaluate.simulated_types`.

A simulated tumour has the median's subtype mix and other types' spread: it teaches where a type
lies, and nothing about how its own subtypes differ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specformer_encoder.cohort_medians import CohortMedians, FloatArray, from_logs, to_logs
from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.errors import CorpusError
from specformer_encoder.genes import vocabulary
from specformer_encoder.packed import GENOME_WIDE

#: What every answer about a simulated type has to say of it.
ORIGIN = "from published cohort statistics"
#: A pipeline with tumours of fewer types has no shift that could be told from that of its types.
MINIMUM_TYPES = 8
#: Tumours of one type and pipeline whose mean is good enough to take residuals from.
MINIMUM_DONORS = 8
#: Spread of tumours around their type's mean ÷ spread of types around the shift, as variances.
_SPREAD_RATIO = 2.0

#: Sources whose profiles went through one pipeline, by the beginning of their name.
_PIPELINES = {
    "gdc_": "gdc",
    "cbioportal_": "rsem",
    "firehose": "rsem",
    "legacy_": "rsem",
    "pancanatlas_": "pancanatlas",
}


def quantifier_of(label: SampleLabel) -> str:
    """The pipeline that quantified a profile; a source of its own is one for each unit.

    Examples
    --------
    >>> quantifier_of(SampleLabel("a", "gdc_star", "counts", *["x"] * 7))
    'gdc'
    >>> quantifier_of(SampleLabel("a", "rnaseqdb", "rsem_fpkm_combat", *["x"] * 7))
    'rnaseqdb.rsem_fpkm_combat'
    """
    for beginning, pipeline in _PIPELINES.items():
        if label.source.startswith(beginning):
            return pipeline
    return f"{label.source}.{label.unit}"


class RealTumors:
    """Real tumours to learn pipelines and residuals from.

    Parameters
    ----------
    values
        (N, V) linear expression, NaN where not measured; genome-wide profiles of training patients.
    studies, pipelines
        N names each; see `quantifier_of`.
    """

    def __init__(
        self, values: FloatArray, studies: Sequence[str], pipelines: Sequence[str]
    ) -> None:
        self.logs = to_logs(values)
        members: dict[tuple[str, str], list[int]] = {}
        for row, group in enumerate(zip(studies, pipelines, strict=True)):
            members.setdefault(group, []).append(row)
        self.members = {group: np.array(rows) for group, rows in members.items()}
        # A gene that half of a group does not measure has no mean there.
        self.means = {g: _mean(self.logs[rows]) for g, rows in self.members.items()}

    def pipelines(self, without: Collection[str] = ()) -> list[str]:
        """Pipelines with tumours of at least `MINIMUM_TYPES` types, by name."""
        counts: dict[str, int] = {}
        for study, pipeline in self.members:
            counts[pipeline] = counts.get(pipeline, 0) + (study not in without)
        return sorted(name for name, types in counts.items() if types >= MINIMUM_TYPES)

    def shift(
        self, pipeline: str, medians: CohortMedians, *, without: Collection[str] = ()
    ) -> FloatArray:
        """(V,) d(p); NaN where no type has a mean and a median.

        Parameters
        ----------
        pipeline
            p.
        medians
            m, of the types to learn from.
        without
            Types not to learn from.

        Raises
        ------
        CorpusError
            If fewer than `MINIMUM_TYPES` types are left to learn from.
        """
        studies = [
            study
            for study, name in self.members
            if name == pipeline and study in medians.studies and study not in without
        ]
        if len(studies) < MINIMUM_TYPES:
            raise CorpusError(
                f"Pipeline {pipeline} has tumours of {len(studies)} types with a published median; "
                f"its shift needs {MINIMUM_TYPES}.",
                f"Simulate in one of {', '.join(self.pipelines(without)) or 'none'}.",
            )
        size = np.array([len(self.members[study, pipeline]) for study in studies])
        shifts = np.stack([self.means[s, pipeline] - medians.of(s) for s in studies])
        weight = np.where(np.isnan(shifts), 0, (size / (size + _SPREAD_RATIO))[:, None])
        total = weight.sum(axis=0)
        mean = (np.nan_to_num(shifts) * weight).sum(axis=0) / np.where(total > 0, total, np.nan)
        return np.asarray(mean, np.float32)

    def residuals(
        self, count: int, *, without: Collection[str] = (), draw: np.random.Generator
    ) -> FloatArray:
        """(count, V) residuals, every group of enough tumours as likely; 0 where not measured.

        Raises
        ------
        CorpusError
            If no group has `MINIMUM_DONORS` tumours.
        """
        groups = [
            group
            for group, rows in sorted(self.members.items())
            if len(rows) >= MINIMUM_DONORS and group[0] not in without
        ]
        if not groups:
            raise CorpusError(
                f"No type has {MINIMUM_DONORS} tumours of one pipeline to take residuals from.",
                "Simulate beside real tumours of other types.",
            )
        result = np.empty((count, self.logs.shape[1]), np.float32)
        for place, number in enumerate(draw.integers(len(groups), size=count)):
            rows = self.members[groups[number]]
            whole = np.sqrt(len(rows) / (len(rows) - 1))
            result[place] = (self.logs[draw.choice(rows)] - self.means[groups[number]]) * whole
        return np.nan_to_num(result, copy=False)


def _mean(logs: FloatArray) -> FloatArray:
    """(V,) mean over the tumours that measure a gene; NaN where half of them or more do not."""
    measured = (~np.isnan(logs)).sum(axis=0)
    mean = np.nansum(logs, axis=0) / np.maximum(measured, 1)
    return np.where(measured * 2 > len(logs), mean, np.nan).astype(np.float32)


@dataclass(frozen=True)
class SimulatedTumors:
    """Simulated profiles; `ORIGIN` says of each where it is from.

    Attributes
    ----------
    values
        (n, V) linear expression, each summing to 10⁶, NaN where not measured.
    studies, pipelines
        n names each.
    names
        n names, ``simulated:<study>:<pipeline>:<number>``; they stand for patients as well.
    """

    values: FloatArray
    studies: list[str]
    pipelines: list[str]
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)


def simulate_type(
    study: str,
    medians: CohortMedians,
    *,
    tumors: RealTumors,
    pipelines: Iterable[str],
    profiles: int,
    without: Collection[str] = (),
    seed: int = 0,
) -> SimulatedTumors:
    """Simulate tumours of one type in some pipelines; see the module for how.

    Parameters
    ----------
    study
        The type, e.g. ``TCGA-PCPG``. Its real tumours are not looked at.
    medians
        Has its median, and those of the types that teach the pipelines.
    tumors
        Real tumours of other types.
    pipelines
        As which pipelines would have quantified it; see `RealTumors.pipelines`.
    profiles
        How many in each pipeline.
    without
        More types that are not to be learnt from.
    seed
        With the type's name, of the draws: a type's tumours do not depend on which others are
        simulated.

    Returns
    -------
    SimulatedTumors
        Pipelines in the order given, `profiles` each.

    Raises
    ------
    CorpusError
        If the median is not published, or the real tumours are too few.
    """
    median, left_out = medians.of(study), {study, *without}
    draw = np.random.default_rng([seed, *study.encode()])
    names, blocks, through = [], [], []
    for pipeline in pipelines:
        centre = median + tumors.shift(pipeline, medians, without=left_out)
        blocks.append(from_logs(centre + tumors.residuals(profiles, without=left_out, draw=draw)))
        through += [pipeline] * profiles
        names += [f"simulated:{study}:{pipeline}:{number}" for number in range(profiles)]
    values = np.concatenate([np.empty((0, len(median)), np.float32), *blocks])
    return SimulatedTumors(values, [study] * len(names), through, names)


def simulate_types(
    profiles: Mapping[str, int], corpus: Corpus, *, medians: Path, seed: int = 0
) -> SimulatedTumors:
    """Training profiles of types of which a corpus has too few tumours, and companions of others.

    A classifier that meets simulated tumours of one type alone may learn what is simulated and what
    came through which pipeline. On ranks a few companions of every other type take that away; on
    vectors that depend less on the pipeline they may do more harm than good: measure it
    (`evaluate.simulated_types.Bench`).

    Parameters
    ----------
    profiles
        Type → how many in each pipeline that `RealTumors.pipelines` names.
    corpus
        Its genome-wide training tumours teach the pipelines and the residuals.
    medians
        Path of the table of cohort medians; see `CohortMedians.read`.
    seed
        Of the draws.

    Returns
    -------
    SimulatedTumors
        All types, in the order given.
    """
    table = CohortMedians.read(medians)
    rows = training_tumors(corpus)
    labels = [corpus.labels[row] for row in rows]
    tumors = RealTumors(
        corpus.values(rows), [x.study for x in labels], [quantifier_of(x) for x in labels]
    )
    parts = [
        simulate_type(
            study,
            table,
            tumors=tumors,
            pipelines=tumors.pipelines([study]),
            profiles=number,
            seed=seed,
        )
        for study, number in profiles.items()
    ]
    return concatenate(parts)


def concatenate(parts: Sequence[SimulatedTumors]) -> SimulatedTumors:
    """Simulated tumours one after the other; none of no parts."""
    values = [np.empty((0, len(vocabulary())), np.float32), *(part.values for part in parts)]
    return SimulatedTumors(
        np.concatenate(values),
        [study for part in parts for study in part.studies],
        [pipeline for part in parts for pipeline in part.pipelines],
        [name for part in parts for name in part.names],
    )


def training_tumors(corpus: Corpus) -> list[int]:
    """Rows of the genome-wide TCGA tumours of training patients."""
    wide = corpus.genes_measured() >= GENOME_WIDE
    return [
        row
        for row, label in enumerate(corpus.labels)
        if wide[row]
        and label.split == "train"
        and label.sample_type == "tumor"
        and label.study.startswith("TCGA-")
    ]
