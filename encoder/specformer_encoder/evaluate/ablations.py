r"""What each part of the embedding is worth: the same judgement with parts taken away.

**Parts.** Network and factor model each give a part of the raw vector, and the projection weighs
them. Here it is fitted on either part alone, left out, and put on a network with random weights in
place of the trained one. Each embedding, fitted on the training profiles, is judged by a logistic
regression and by its five nearest training tumours. Unlike the release's predictor, which is judged
elsewhere, no thinned view, panel or simulated tumour takes part.

**Orderings.** A gene sequence holds the first T genes by some score. TF-IDF is the one that the
network was trained on; the others are

* raw expression: the score is the expression x itself,
* z-score: (log2(1 + x) − mean) / deviation of the gene over training profiles,
* rank deviation: the rank quantile within the profile less its mean over training profiles.

They are judged as bags of genes, without a network: which T genes stand in the sequence, logistic
regression of one strength and the vote of neighbours. That says what an ordering lets through, not
what a network would make of it.

Validation patients choose the strength of the first kind, so their numbers flatter a little; they
stand here since parts were chosen by them, and by nothing of test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from specformer_encoder.corpus.labels import cohort_of
from specformer_encoder.embedder import Embedder
from specformer_encoder.evaluate.baselines import Bag, Baselines
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.leave_out import Setting
from specformer_encoder.evaluate.methods import Rows, logistic, neighbours
from specformer_encoder.evaluate.metrics import Estimate, bootstrap_mean
from specformer_encoder.evaluate.views import END, Views
from specformer_encoder.material import take_out
from specformer_encoder.ordering import quantile_values, rank_quantiles
from specformer_encoder.projection import FloatArray, fit_projection, unit_length

BOTH = "network and factors (as in the release)"
#: Share of the genes at which parts are judged once more.
SHARE = 0.1
#: Inverse strength for bags of genes.
_BAG_STRENGTH = 0.1
_BLOCK = 256

#: (n, R) raw vectors, or (n, V) bags, of what is asked of.
Material = Any


@dataclass(frozen=True, slots=True)
class Sets:
    """Which rows are fitted on and judged; all genome-wide profiles.

    Attributes
    ----------
    train
        Tumours and normals of training patients.
    judged
        ``validation`` and ``test`` → tumours of the judged types.
    types
        The judged types.
    left_out
        A source left out, or None.
    """

    train: Rows
    judged: dict[str, Rows]
    types: list[str]
    left_out: Setting | None

    @classmethod
    def of(cls, corpus: EmbeddedCorpus, left_out: Setting | None) -> Sets:
        """The rows of a corpus."""
        types = corpus.judged_types
        train = corpus.select("train", tumor=True) + corpus.select("train", tumor=False)
        judged = {name: corpus.known(split, types) for name, split in _SPLITS.items()}
        return cls(sorted(train), judged, types, left_out)


_SPLITS = {"validation": "valid", "test": "test"}


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table.

    Attributes
    ----------
    whole
        (N, R) of every profile of the corpus.
    thinned
        ``validation`` and ``test`` → the same of the judged profiles with a share of their genes.
    network
        How many of the R dimensions, the leading ones, are a network's; None = no projection is
        fitted, vectors are centred and scaled to unit length.
    bag
        Whether these are bags of genes, to be taken as they are.
    """

    whole: Material
    thinned: dict[str, Material]
    network: int | None = None
    bag: bool = False


def ablations(
    corpus: EmbeddedCorpus,
    embedder: Embedder,
    *,
    baselines: Baselines,
    thinned: dict[str, Views],
    left_out: Setting | None,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Judge every variant.

    Parameters
    ----------
    corpus, embedder, baselines
        As in `classification.classification`.
    thinned
        ``validation`` and ``test`` → views of the judged tumours with `SHARE` of their genes.
    left_out
        A source to leave out, see `leave_out.sources_left_out`, or None.
    progress
        Told in a line what is being done.

    Returns
    -------
    `left out`, name of that source or None, and `parts` and `orderings`: variant → ``logistic
    regression`` and ``kNN`` → ``validation``, ``validation, 10% of the genes``, ``test``, ``test,
    10% of the genes`` and, if any, ``source left out`` → `Estimate` of the accuracy.
    """
    sets = Sets.of(corpus, left_out)
    results: dict[str, Any] = {"left out": left_out.name if left_out else None}
    results["parts"] = {}
    for name, variant in _parts(corpus, baselines, thinned, embedder.config.width):
        progress(f"ablation: {name}")
        results["parts"][name] = _judged(corpus, sets, variant)
    results["orderings"] = {}
    progress("ablation: gene sequences in four orderings")
    for name, variant in _orderings(corpus, embedder, sets):
        progress(f"ablation: {name}")
        results["orderings"][name] = _judged(corpus, sets, variant)
    return results


def _parts(
    corpus: EmbeddedCorpus, baselines: Baselines, thinned: dict[str, Views], width: int
) -> Iterator[tuple[str, Variant]]:
    raw = corpus.reading.raw
    few = {name: views.reading.raw for name, views in thinned.items()}
    untrained = baselines.pooled
    few_untrained = {
        name: baselines.untrained.pooled(views.sequences) for name, views in thinned.items()
    }

    def columns(of: slice, network: int) -> Variant:
        return Variant(raw[:, of], {name: some[:, of] for name, some in few.items()}, network)

    everything, network, factors = slice(None), slice(width), slice(width, None)
    yield BOTH, columns(everything, width)
    yield "network alone", columns(network, width)
    yield "factors alone", columns(factors, 0)
    yield "both, no projection", Variant(raw, few)
    with_factors = {
        name: np.concatenate([few_untrained[name], some[:, factors]], axis=1)
        for name, some in few.items()
    }
    yield (
        "untrained network and factors",
        Variant(np.concatenate([untrained, raw[:, factors]], axis=1), with_factors, width),
    )
    yield "untrained network alone", Variant(untrained, few_untrained, width)


def _judged(corpus: EmbeddedCorpus, sets: Sets, variant: Variant) -> dict[str, Any]:
    fitted = _fit(corpus, variant, sets.train, sets.judged["validation"], sets.types)
    found: dict[str, dict[str, Estimate]] = {name: {} for name in fitted.models}
    for split, rows in sets.judged.items():
        for name, model in fitted.models.items():
            share = f"{split}, {SHARE:.0%} of the genes"
            few = variant.thinned[split]
            whole = fitted.of(variant.whole[rows], 1)
            found[name][split] = _accuracy(corpus, rows, model, whole)
            found[name][share] = _accuracy(corpus, rows, model, fitted.of(few, SHARE))
    if sets.left_out is not None:
        setting = sets.left_out
        train = [i for i in setting.train if corpus.genome_wide[i]]
        valid = [i for i in setting.valid if corpus.genome_wide[i]]
        valid = [i for i in valid if _is_tumor(corpus, i, setting.types)]
        fitted = _fit(corpus, variant, train, valid, setting.types)
        rows = setting.tests["left out"]
        for name, model in fitted.models.items():
            features = fitted.of(variant.whole[rows], 1)
            found[name]["source left out"] = _accuracy(corpus, rows, model, features)
    return found


@dataclass(frozen=True, slots=True)
class _Fitted:
    """Takes raw vectors and the share of genes behind them to features, and models of these."""

    of: Callable[[Material, float], Any]
    models: dict[str, Any]


def _fit(
    corpus: EmbeddedCorpus, variant: Variant, train: Rows, valid: Rows, types: list[str]
) -> _Fitted:
    tumors = [i for i in train if _is_tumor(corpus, i, types)]
    y = [corpus.labels[i].study for i in tumors]
    if variant.bag:
        linear = LogisticRegression(C=_BAG_STRENGTH, max_iter=2000, tol=1e-3)
        x = variant.whole[tumors]
        models = {"logistic regression": linear.fit(x, y), "kNN": neighbours(x, y)}
        return _Fitted(lambda bags, _: bags, models)
    of = _embedding(corpus, variant, train)
    x = of(variant.whole[tumors], 1)
    # One scale for all columns, as in the readout: standardising would undo the projection.
    scale = max(float(x.std(axis=0).mean()), 1e-6)
    known = [i for i in valid if corpus.labels[i].study in set(y)]
    valid_y = [corpus.labels[i].study for i in known]
    chosen = of(variant.whole[known], 1) / scale
    linear = logistic(x / scale, y, valid=chosen, valid_y=valid_y, scale=False)
    models = {"logistic regression": linear, "kNN": neighbours(x / scale, y)}
    return _Fitted(lambda raw, share: of(raw, share) / scale, models)


def _embedding(
    corpus: EmbeddedCorpus, variant: Variant, train: Rows
) -> Callable[[FloatArray, float], FloatArray]:
    raw = variant.whole[train]
    if variant.network is not None:
        cohorts = [cohort_of(corpus.labels[i]) for i in train]
        projection = fit_projection(raw, cohorts, network=variant.network)
        return lambda some, share: unit_length(
            projection.apply(some, np.full(len(some), share, np.float32))
        )
    centre = raw.mean(axis=0)
    return lambda some, _: unit_length(some - centre)


def _accuracy(corpus: EmbeddedCorpus, rows: Rows, model: Any, features: Any) -> Estimate:
    truth = np.array([corpus.labels[i].study for i in rows])
    return bootstrap_mean(model.predict(features) == truth, corpus.people(rows))


def _is_tumor(corpus: EmbeddedCorpus, row: int, types: list[str]) -> bool:
    label = corpus.labels[row]
    return label.sample_type == "tumor" and label.study in types


def _orderings(
    corpus: EmbeddedCorpus, embedder: Embedder, sets: Sets
) -> Iterator[tuple[str, Variant]]:
    scores = _scores(corpus, embedder, sets.train)
    length, bag = embedder.config.length, Bag(embedder.genes)
    everyone = list(range(len(corpus.labels)))
    whole = _sequences(corpus.values, everyone, scores, length)
    few = {}
    for split, rows in sets.judged.items():
        draw = np.random.default_rng(0)
        values = partial(_thinned, corpus, draw)
        few[split] = _sequences(values, rows, scores, length)
    for name in scores:
        thinned = {split: bag.of_sequences(found[name]) for split, found in few.items()}
        yield name, Variant(bag.of_sequences(whole[name]), thinned, bag=True)


def _thinned(corpus: EmbeddedCorpus, draw: np.random.Generator, rows: Rows) -> FloatArray:
    return take_out(corpus.values(rows), SHARE, draw)


Score = Callable[[FloatArray], FloatArray]


def _scores(corpus: EmbeddedCorpus, embedder: Embedder, train: Rows) -> dict[str, Score]:
    """Ordering → takes an (V,) profile to the (V,) score by which its genes are ordered."""
    genes = embedder.genes
    known = np.zeros(genes)
    sums, squares, ranks = np.zeros(genes), np.zeros(genes), np.zeros(genes)
    for start in range(0, len(train), _BLOCK):
        for profile in corpus.values(train[start : start + _BLOCK]):
            log = np.nan_to_num(np.log2(1 + profile), nan=0.0)
            known += ~np.isnan(profile)
            sums += log
            squares += log**2
            ranks += np.nan_to_num(quantile_values(rank_quantiles(profile)), nan=0.0)
    n = np.maximum(known, 1)
    mean = sums / n
    deviation = np.sqrt(np.maximum(squares / n - mean**2, 1e-6))
    mean_rank = ranks / n
    return {
        "TF-IDF": lambda x: x * embedder.idf,
        "raw expression": lambda x: x,
        "z-score of log expression": lambda x: (np.log2(1 + x) - mean) / deviation,
        "rank deviation": lambda x: quantile_values(rank_quantiles(x)) - mean_rank,
    }


def _sequences(
    values: Callable[[list[int]], FloatArray],
    rows: Rows,
    scores: dict[str, Score],
    length: int,
) -> dict[str, npt.NDArray[np.uint16]]:
    """Ordering → (n, T) first genes by its score among the expressed ones."""
    found = {name: np.full((len(rows), length), END, np.uint16) for name in scores}
    for start in range(0, len(rows), _BLOCK):
        for place, profile in enumerate(values(rows[start : start + _BLOCK]), start):
            for name, score in scores.items():
                leading = _leading(profile, score(profile), length)
                found[name][place, : len(leading)] = leading
    return found


def _leading(profile: FloatArray, score: FloatArray, length: int) -> npt.NDArray[np.uint16]:
    """Positions of the highest scores among expressed genes."""
    expressed = np.flatnonzero(np.nan_to_num(profile, nan=0.0) > 0)
    return expressed[np.argsort(-score[expressed], kind="stable")[:length]].astype(np.uint16)
