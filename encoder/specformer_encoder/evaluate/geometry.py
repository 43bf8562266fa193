r"""How profiles are spread out in a space, and who lies beside whom.

Effective rank (Roy & Vetterli, EUSIPCO 2007): with singular values :math:`\sigma_i` of the matrix
of vectors and :math:`p_i = \sigma_i / \sum_j \sigma_j`,

.. math:: \exp\Big(-\sum_i p_i \ln p_i\Big)

The number of directions in use, if all were used alike: 1 if all vectors lie on one line, at most
the dimension. It is given of the vectors as they are, as published, and of the vectors less their
mean, in which a direction that all share does not count. **It is no measure of quality**: noise
has the highest of all, and so have untrained encoders and random projections. It is printed beside
those, and must be read beside them.

Alignment and uniformity (Wang & Isola, ICML 2020) of vectors x, y of length 1:

.. math::

    \text{alignment} = E_{(x, y)\ \text{of one sample}} \lVert x - y \rVert^2, \qquad
    \text{uniformity} = \ln E_{x, y\ \text{of two patients}} \exp(-2 \lVert x - y \rVert^2)

Both are better when lower, and only together: vectors that are all the same align perfectly.

Neighbour purity is the share of a test tumour's nearest training tumours that are of its study, by
cosine; as many neighbours are taken as could be right, at most 10. Patients are in one split, so no
neighbour is of the same patient. A study often comes from one source alone, and then the pipeline
may be what neighbours share. So purity is also given among training tumours of other sources than
the query's own, for queries whose study another source has.

The silhouette (Rousseeuw, 1987) compares a tumour's mean cosine distance to its own study with
that to the nearest other study: 1 apart, 0 between, below 0 nearer to the other.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import silhouette_samples

from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.metrics import Estimate, bootstrap
from specformer_encoder.evaluate.neighbours import nearest, purity
from specformer_encoder.evaluate.resampling import mean_estimate
from specformer_encoder.evaluate.spaces import Spaces
from specformer_encoder.projection import FloatArray, unit_length

NEIGHBOURS = 10
#: A study with fewer test patients is no cluster; its tumours have no silhouette.
MINIMUM_CLUSTER = 2
#: Weight of the squared distance in the uniformity, as its authors use it.
UNIFORMITY_WEIGHT = 2.0


def geometry(corpus: EmbeddedCorpus, spaces: Spaces) -> dict[str, Any]:
    """Effective rank, neighbour purity, silhouette, alignment and uniformity of each space.

    Parameters
    ----------
    corpus
        Judged on its genome-wide test profiles: tumours, and for the effective rank, alignment and
        uniformity normals too.
    spaces
        Name → (N, E) vectors of all profiles. Put an untrained encoder beside the trained one.

    Returns
    -------
    `profiles`, `tumors`, `tumors with their study in another source`, `pairs of one sample`
    (numbers), `dimensions` (space → E) and `spaces`: space → metric → estimate, or for the
    effective ranks a plain number: repeated rows of a resample would lower it.
    """
    tumors, train = corpus.select("test"), corpus.select("train")
    rows = sorted(tumors + corpus.select("test", tumor=False))
    pairs = pairs_of_one_sample(corpus, rows)
    found = {}
    for name, vectors in spaces.items():
        metrics: dict[str, Estimate | float] = {
            "effective rank": effective_rank(vectors[rows]),
            "effective rank, centred": effective_rank(vectors[rows], centred=True),
        }
        metrics |= _purities(corpus, vectors, tumors, train)
        metrics["silhouette by study"] = _silhouette(corpus, vectors, tumors)
        if pairs:
            people = corpus.people([i for i, _ in pairs])
            distance = alignment_distances(vectors, pairs)
            metrics["alignment"] = mean_estimate(distance, people)
        metrics["uniformity"] = uniformity(vectors[rows], corpus.people(rows))
        found[name] = metrics
    return {
        "profiles": len(rows),
        "tumors": len(tumors),
        "tumors with their study in another source": int(
            (_could_be_right(corpus, tumors, train, other=True) > 0).sum()
        ),
        "pairs of one sample": len(pairs),
        "dimensions": {name: vectors.shape[1] for name, vectors in spaces.items()},
        "spaces": found,
    }


def effective_rank(vectors: FloatArray, *, centred: bool = False) -> float:
    """Exponential of the entropy of the singular values as shares of their sum.

    Parameters
    ----------
    vectors
        (n, E).
    centred
        Take out the mean vector first.

    Examples
    --------
    >>> round(effective_rank(np.eye(4, dtype=np.float32)), 6)
    4.0
    """
    matrix = vectors.astype(np.float64)
    if centred:
        matrix -= matrix.mean(axis=0)
    values = np.linalg.svd(matrix, compute_uv=False)
    share = values[values > 0] / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def alignment_distances(vectors: FloatArray, pairs: list[tuple[int, int]]) -> FloatArray:
    """(pairs,) squared distances between the unit vectors of each pair; their mean is alignment."""
    first, second = (unit_length(vectors[list(side)]) for side in zip(*pairs, strict=True))
    return np.asarray(((first - second) ** 2).sum(axis=1))


def uniformity(vectors: FloatArray, patients: list[str]) -> Estimate:
    """Log of the mean Gaussian potential between the unit vectors of different patients."""
    x = unit_length(vectors).astype(np.float64)
    _, group = np.unique(np.array(patients), return_inverse=True)
    apart = (group[:, None] != group[None, :]).astype(np.float64)
    potential = apart * np.exp(-UNIFORMITY_WEIGHT * (2 - 2 * x @ x.T))

    def statistic(rows: npt.NDArray[np.int64]) -> float:
        drawn = np.bincount(rows, minlength=len(x)).astype(np.float64)
        pairs = drawn @ apart @ drawn  # none, where a resample holds one patient only
        return float(np.log(drawn @ potential @ drawn / pairs)) if pairs else float("nan")

    return bootstrap(statistic, patients)


def pairs_of_one_sample(corpus: EmbeddedCorpus, rows: list[int]) -> list[tuple[int, int]]:
    """Every two of these profiles that are one sample in two units or of two pipelines."""
    by_sample: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        label = corpus.labels[row]
        if label.patient:
            by_sample.setdefault((label.patient, label.sample_type), []).append(row)
    return [
        (i, j)
        for some in by_sample.values()
        for i, j in combinations(some, 2)
        if _one_sample(corpus.labels[i], corpus.labels[j])
    ]


def _one_sample(one: SampleLabel, other: SampleLabel) -> bool:
    # GTEx donors give several tissues. Characters 14 and 15 of a TCGA barcode tell a primary from a
    # metastasis; shorter barcodes leave them out, and then the patient has to do.
    kinds = {label.barcode[13:15] for label in (one, other) if label.study != "GTEX"} - {""}
    same = one.tissue == other.tissue and one.study == other.study and len(kinds) <= 1
    return same and (one.source, one.unit) != (other.source, other.unit)


def _could_be_right(
    corpus: EmbeddedCorpus, queries: list[int], train: list[int], *, other: bool
) -> npt.NDArray[np.int64]:
    """(queries,) training tumours of the query's study, all or those of other sources."""
    study, source = (
        (
            np.array([getattr(corpus.labels[i], name) for i in queries]),
            np.array([getattr(corpus.labels[i], name) for i in train]),
        )
        for name in ("study", "source")
    )
    right = study[0][:, None] == study[1][None, :]
    if other:
        right &= source[0][:, None] != source[1][None, :]
    return np.asarray(right.sum(axis=1))


def _purities(
    corpus: EmbeddedCorpus, vectors: FloatArray, queries: list[int], train: list[int]
) -> dict[str, Estimate]:
    """Neighbour purity among all training tumours and among those of other sources."""
    study = np.array([label.study for label in corpus.labels])
    source = np.array([label.source for label in corpus.labels])
    found = {}
    for name, other in (("neighbour purity", False), ("neighbour purity, other sources", True)):
        possible = _could_be_right(corpus, queries, train, other=other)
        kept = [row for row, number in zip(queries, possible, strict=True) if number]
        if not kept:
            continue
        allowed = source[kept][:, None] != source[train][None, :] if other else None
        close = nearest(vectors[kept], vectors[train], k=NEIGHBOURS, allowed=allowed)
        right = study[train][close] == study[kept][:, None]
        found[name] = mean_estimate(purity(right, possible[possible > 0]), corpus.people(kept))
    return found


def _silhouette(corpus: EmbeddedCorpus, vectors: FloatArray, rows: list[int]) -> Estimate:
    """Mean silhouette of the tumours by study; the interval is over the tumours' own values."""
    people: dict[str, set[str]] = {}
    for i in rows:
        people.setdefault(corpus.labels[i].study, set()).add(corpus.labels[i].person)
    kept = [i for i in rows if len(people[corpus.labels[i].study]) >= MINIMUM_CLUSTER]
    studies = [corpus.labels[i].study for i in kept]
    values = silhouette_samples(vectors[kept], studies, metric="cosine")
    return mean_estimate(values, corpus.people(kept))
