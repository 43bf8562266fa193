"""Do simulated tumours teach a type? Leave a type out, simulate it, meet its real tumours.

All real training tumours of the type are taken away, tumours simulated from the published median of
its cohort (`simulate`) take their place, and a classifier of all types is fitted and shown the
type's real tumours. What it calls right of them is the success; what it calls so of other tumours
is the price. Types of which there are hardly any tumours are simulated beside all the others in the
same way, and judged by the few there are.

The test bed is PCA-256 and logistic regression on rank quantiles, or any other representation that
is handed in: an encoder's, say, though one that was trained on tumours of the type has met them.
Colon and rectum are one disease to the transcriptome: they are left out together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from specformer_encoder.cohort_medians import CohortMedians, FloatArray
from specformer_encoder.corpus import Corpus
from specformer_encoder.evaluate.baselines import COMPONENTS
from specformer_encoder.evaluate.classification import merged
from specformer_encoder.evaluate.metrics import Estimate, bootstrap
from specformer_encoder.heads import known_types
from specformer_encoder.ordering import quantile_values, rank_quantiles
from specformer_encoder.packed import GENOME_WIDE
from specformer_encoder.simulate import (
    RealTumors,
    SimulatedTumors,
    concatenate,
    quantifier_of,
    simulate_type,
    training_tumors,
)

#: Takes (N, V) linear expression, NaN where not measured, to (N, E) vectors.
Represent = Callable[[FloatArray], FloatArray]

#: A type is taught where this share of its real tumours is called right.
REACHED = 0.80
#: Simulated tumours of a type in each pipeline.
PROFILES = 60
#: Simulated tumours of every other type in each pipeline. They tell the classifier that neither
#: being simulated nor having come through a pipeline says which type a tumour is of.
COMPANIONS = 20
#: Ranks of as many genes are taken, those whose medians differ most from cohort to cohort; which
#: they are is told by no tumour.
GENES = 6000
#: Inverse strength of the regularisation.
STRENGTH = 0.01


def ranks(values: FloatArray) -> FloatArray:
    """(N, V) rank quantiles from 0 to 1, NaN where not measured."""
    return quantile_values(np.stack([rank_quantiles(row) for row in values]))


@dataclass(frozen=True)
class Bench:
    """What stays the same from type to type.

    Attributes
    ----------
    corpus
        Its genome-wide training tumours teach.
    medians
        Published medians.
    splits
        Whose real tumours of a left-out type are judged: ``("test",)``, or ``("train", "valid")``
        while anything is still being chosen; the price is counted on those of them that are not in
        train.
    panel
        A pipeline of `simulate.quantifier_of`: its tumours are judged, over the genes that it
        measures, and every training profile is cut down to these. None: genome-wide tumours.
    represent
        Profiles to vectors; by default rank quantiles of `GENES` genes, or of the panel.
    profiles, companions
        Simulated tumours of a left-out type, and of each other known one, in each pipeline.
    seed
        Of simulation and PCA.
    """

    corpus: Corpus
    medians: CohortMedians
    splits: tuple[str, ...] = ("test",)
    panel: str | None = None
    represent: Represent | None = None
    profiles: int = PROFILES
    companions: int = COMPANIONS
    seed: int = 0

    @cached_property
    def training(self) -> list[int]:
        """Rows of the real training tumours of all types."""
        return training_tumors(self.corpus)

    @cached_property
    def types(self) -> list[str]:
        """Types with enough real training tumours, by name."""
        seen = {(self.study(i), self.corpus.labels[i].person) for i in self.training}
        return known_types(Counter(study for study, _ in seen))

    @cached_property
    def tumors(self) -> RealTumors:
        """What the simulation learns from."""
        through = [quantifier_of(self.corpus.labels[i]) for i in self.training]
        studies = [self.study(i) for i in self.training]
        return RealTumors(self.corpus.values(self.training), studies, through)

    @cached_property
    def judged(self) -> list[int]:
        """Rows of the real tumours that may be judged."""
        wide = self.corpus.genes_measured() >= GENOME_WIDE
        return [
            i
            for i, label in enumerate(self.corpus.labels)
            if label.split in self.splits
            and label.sample_type == "tumor"
            and label.study in self.medians.studies
            and (wide[i] if self.panel is None else quantifier_of(label) == self.panel)
        ]

    @cached_property
    def genes(self) -> npt.NDArray[np.bool_]:
        """(V,) genes that more than half of the judged tumours measure."""
        measured = ~np.isnan(self.corpus.values(self.judged))
        return np.asarray(measured.mean(axis=0) > 0.5)

    @cached_property
    def _ranked(self) -> npt.NDArray[np.int64]:
        """Genes whose ranks are the default vectors, by position."""
        if self.panel is not None:
            return np.flatnonzero(self.genes)
        spread = np.nan_to_num(self.medians.logs.std(axis=0))
        return np.sort(np.argsort(-spread, kind="stable")[:GENES])

    def vectors(self, values: FloatArray) -> FloatArray:
        """(N, E) vectors of profiles, cut down to the panel where there is one."""
        if self.panel is not None:
            values = np.where(self.genes, values, np.float32(np.nan))
        if self.represent is not None:
            return self.represent(values)
        return np.asarray(ranks(values)[:, self._ranked])

    @cached_property
    def real(self) -> FloatArray:
        """(N, E) of the training tumours."""
        return self.corpus.map(self.vectors, self.training)

    @cached_property
    def shown(self) -> FloatArray:
        """(M, E) of the judged tumours."""
        return self.corpus.map(self.vectors, self.judged)

    def study(self, row: int) -> str:
        """The type of one profile of the corpus."""
        return self.corpus.labels[row].study

    def simulate(self, studies: Iterable[str]) -> SimulatedTumors:
        """Simulate types, and companions of the others; nothing is learnt from these types."""
        left_out = list(studies)
        known = [study for study in self.types if study in self.medians.studies]
        wanted = dict.fromkeys(known, self.companions) | dict.fromkeys(left_out, self.profiles)
        parts = [
            simulate_type(
                study,
                self.medians,
                tumors=self.tumors,
                pipelines=self.tumors.pipelines({study, *left_out}),
                profiles=profiles,
                without=left_out,
                seed=self.seed,
            )
            for study, profiles in wanted.items()
        ]
        return concatenate(parts)

    def calls(self, left_out: Iterable[str]) -> npt.NDArray[np.str_]:
        """(M,) what each judged tumour is called where simulated ones stand in for these types."""
        left_out = list(left_out)
        simulated = self.simulate(left_out)
        keep = [
            place
            for place, row in enumerate(self.training)
            if self.study(row) in self.types and self.study(row) not in left_out
        ]
        studies = [self.study(self.training[place]) for place in keep]
        x = np.concatenate([self.real[keep], self.vectors(simulated.values)])
        mean = _mean(x)
        model = _classifier(x.shape[1], len(x), self.seed)
        model.fit(_filled(x, mean), [*studies, *simulated.studies])
        return np.array([str(name) for name in model.predict(_filled(self.shown, mean))])


def simulated_types(
    bench: Bench,
    studies: Iterable[str] | None = None,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, Any]]:
    """Leave out one type at a time.

    Parameters
    ----------
    bench
        What teaches and what is judged.
    studies
        Types to leave out, of those with a published median; all that have real tumours to be
        judged by default.
    progress
        Told in a line of each type.

    Returns
    -------
    Type → `training tumors` (profiles taken away), `profiles` and `patients` (judged), `top-1` with
    interval, `reached`, `false calls` (share of the other judged tumours, with interval; None where
    there are no others), and `called instead` (type → profiles, the most frequent first).
    """
    truth = np.array([merged(bench.study(i)) for i in bench.judged])
    chosen = set(studies or {bench.study(i) for i in bench.judged})
    results = {}
    for name in sorted({merged(study) for study in chosen}):
        # What is one disease is left out as one, or its other half would stay to be met.
        left_out = [study for study in bench.medians.studies if merged(study) == name]
        names = bench.calls(left_out)
        guess = np.array([merged(called) for called in names])
        taken = sum(bench.study(i) in left_out for i in bench.training)
        results[name] = {"training tumors": taken, **_score(bench, name, truth, guess)}
        progress(f"{name}: {results[name]['top-1'].value:.3f} of {results[name]['profiles']}")
    return results


def together(bench: Bench, studies: Iterable[str]) -> dict[str, Any]:
    """Simulate several types at once and count what they cost the types that have tumours.

    Returns
    -------
    `types`: simulated type → the entries of `simulated_types`; `accuracy without` and `accuracy
    with`: of the judged tumours of all other known types, with intervals, colon and rectum merged.
    """
    added = list(studies)
    truth = np.array([merged(bench.study(i)) for i in bench.judged])
    before, after = (np.array([merged(c) for c in bench.calls(some)]) for some in ([], added))
    known = np.array([bench.study(i) in set(bench.types) - set(added) for i in bench.judged])
    known &= _unseen(bench)
    people = [bench.corpus.labels[i].person for i, k in zip(bench.judged, known, strict=True) if k]
    return {
        "types": {s: _score(bench, s, truth, after) for s in added if (truth == s).any()},
        "accuracy without": _share((truth == before)[known], people),
        "accuracy with": _share((truth == after)[known], people),
    }


def _score(
    bench: Bench, name: str, truth: npt.NDArray[np.str_], guess: npt.NDArray[np.str_]
) -> dict[str, Any]:
    people = np.array([bench.corpus.labels[i].person for i in bench.judged])
    own, others = truth == name, (truth != name) & _unseen(bench)
    top = _share(guess[own] == name, list(people[own]))
    return {
        "profiles": int(own.sum()),
        "patients": len(set(people[own])),
        "top-1": top,
        "reached": top.value >= REACHED,
        "false calls": _share(guess[others] == name, list(people[others])) if any(others) else None,
        "called instead": dict(Counter(map(str, guess[own & (guess != name)])).most_common()),
    }


def _unseen(bench: Bench) -> npt.NDArray[np.bool_]:
    """(M,) judged tumours that no classifier was fitted on."""
    return np.array([bench.corpus.labels[i].split != "train" for i in bench.judged])


def _share(hits: npt.NDArray[np.bool_], people: list[str]) -> Estimate:
    return bootstrap(lambda rows: float(hits[rows].mean()), people)


def _classifier(width: int, rows: int, seed: int) -> Pipeline:
    """Logistic regression on standardised components; few dimensions are taken as they are."""
    steps: list[Any] = [StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=2000)]
    if width > COMPONENTS:
        components = min(COMPONENTS, rows - 1)
        pca = PCA(components, svd_solver="randomized", iterated_power=2, random_state=seed)
        steps.insert(0, pca)
    return make_pipeline(*steps)


def _mean(x: FloatArray) -> FloatArray:
    """(E,) mean of what is known; 0 where nothing is."""
    known = (~np.isnan(x)).sum(axis=0)
    return np.asarray(np.nansum(x, axis=0) / np.maximum(known, 1), np.float32)


def _filled(x: FloatArray, mean: FloatArray) -> FloatArray:
    """A gene that is not measured says nothing: it takes the training mean."""
    return np.where(np.isnan(x), mean, x)
