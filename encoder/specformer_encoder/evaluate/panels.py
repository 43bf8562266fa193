"""How much is lost when only some genes were measured.

Genome-wide test tumours with all but a random share of their genes taken out, and the real gene
panels of the test patients, source by source. The baselines stand beside the shipped predictor:
PCA fills a missing gene with its training mean, the bag of genes is that of the genes left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from specformer_encoder.embedder import Embedder
from specformer_encoder.evaluate.baselines import Baselines
from specformer_encoder.evaluate.classification import SHIPPED, aligned, fit_methods
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.methods import Method, top
from specformer_encoder.evaluate.metrics import bootstrap_mean
from specformer_encoder.evaluate.views import Views, look
from specformer_encoder.material import take_out

SHARES = (1.0, 0.5, 0.25, 0.1, 0.05)


def panels(
    corpus: EmbeddedCorpus,
    embedder: Embedder,
    *,
    baselines: Baselines | None = None,
    methods: dict[str, Method] | None = None,
    thinned: Mapping[float, Views] | None = None,
) -> dict[str, Any]:
    """Accuracy of every method; coverage of the prediction set and share flagged of the shipped.

    Parameters
    ----------
    corpus, embedder, baselines, methods
        As in `classification.classification`.
    thinned
        Share of the genes → `thin_views` of the known test tumours, made here if not given.

    Returns
    -------
    Name of the group (``25% of the genes``, ``real panels``, and each source of these) → a
    dictionary with `profiles`, `genes` (median of the vocabulary genes measured), `accuracy`,
    `coverage` and `flagged` of the shipped predictor (`Estimate`) and `methods`: method →
    ``accuracy`` → `Estimate`.
    """
    if baselines is None:
        baselines = Baselines.of(corpus, embedder)
    if methods is None:
        methods = fit_methods(corpus, embedder, baselines)
    wide = corpus.known("test", corpus.judged_types)
    real = corpus.known("test", corpus.judged_types, panel=True)
    measured = corpus.corpus.genes_measured()
    groups = {}
    for share in SHARES:
        if share == 1:
            views = baselines.views.take(wide)
        else:
            views = (thinned or {}).get(share) or thin_views(corpus, embedder, wide, share)
        genes = share * measured[wide]
        groups[f"{share:.0%} of the genes"] = _score(corpus, embedder, wide, views, genes, methods)
    sources = sorted({corpus.labels[i].source for i in real})
    for name, rows in [
        ("real panels", real),
        *((s, [i for i in real if corpus.labels[i].source == s]) for s in sources),
    ]:
        if rows:
            views = baselines.views.take(rows)
            groups[name] = _score(corpus, embedder, rows, views, measured[rows], methods)
    return groups


def thin_views(corpus: EmbeddedCorpus, embedder: Embedder, rows: list[int], share: float) -> Views:
    """Views of some rows with a random share of their genes."""
    draw = np.random.default_rng(0)
    return look(lambda some: take_out(corpus.values(some), share, draw), rows, embedder)


def _score(
    corpus: EmbeddedCorpus,
    embedder: Embedder,
    rows: list[int],
    views: Views,
    genes: Any,
    methods: dict[str, Method],
) -> dict[str, Any]:
    types = embedder.release.heads.types
    truth = np.array([corpus.labels[i].study for i in rows])
    people = corpus.people(rows)
    predictions = embedder.predict(views.reading)
    pairs = zip(predictions, truth, strict=True)
    inside = np.array([study in p.prediction_set for p, study in pairs])
    flags = np.array([p.out_of_distribution for p in predictions])
    scored = {}
    for name, method in methods.items():
        right = truth == top(aligned(method.of(views), method.types, types), types)
        scored[name] = {"accuracy": bootstrap_mean(right, people)}
    return {
        "profiles": len(rows),
        "genes": int(np.median(genes)),
        "accuracy": scored[SHIPPED]["accuracy"],
        "coverage": bootstrap_mean(inside, people),
        "flagged": bootstrap_mean(flags, people),
        "methods": scored,
    }
