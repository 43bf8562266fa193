"""Evaluate a release on the test patients of a corpus: one run, one JSON.

The corpus is read once; what several questions need (views, baselines, fitted methods, thinned
profiles) is made once, when the first of them asks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from specformer_encoder.cohort_medians import CohortMedians
from specformer_encoder.corpus import Corpus
from specformer_encoder.embedder import Embedder
from specformer_encoder.errors import SpecformerError
from specformer_encoder.evaluate import leave_out
from specformer_encoder.evaluate.ablations import SHARE, ablations
from specformer_encoder.evaluate.baselines import PCA, Baselines
from specformer_encoder.evaluate.classification import classification, fit_methods
from specformer_encoder.evaluate.doubt_of_release import doubt
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.geometry import geometry
from specformer_encoder.evaluate.methods import Fit, Method
from specformer_encoder.evaluate.metrics import Estimate, bootstrap_mean
from specformer_encoder.evaluate.panels import SHARES, panels, thin_views
from specformer_encoder.evaluate.pathways import pathways
from specformer_encoder.evaluate.pipelines import same_sample
from specformer_encoder.evaluate.refit import AlteredViews, Reader, Refitted, RefittedFactors
from specformer_encoder.evaluate.simulated_types import Bench, simulated_types, together
from specformer_encoder.evaluate.spaces import Spaces, all_spaces
from specformer_encoder.evaluate.subtypes import subtypes
from specformer_encoder.evaluate.tissues import tissues
from specformer_encoder.evaluate.views import Views
from specformer_encoder.material import SIMULATED

Progress = Callable[[str], None]

#: Files of a reference folder.
PARADIGM = "paradigm_1387.json"
SAMPLE_LABELS = "tcga_labels.tsv"
MEDIANS = "cohort_medians_tcga33_hpa50.parquet"

#: Data sets without which the factor model is fitted anew as well.
HEADLINES = ("cbioportal_pancan", "firehose")


class QuestionError(SpecformerError):
    """A question was asked for that there is not."""


@dataclass
class Context:
    """What questions are asked of, and what several of them need."""

    embedder: Embedder
    corpus: EmbeddedCorpus
    reference: Path | None
    progress: Progress

    @cached_property
    def baselines(self) -> Baselines:
        """Plain methods."""
        self.progress("looking at every profile as the baselines do")
        return Baselines.of(self.corpus, self.embedder)

    @cached_property
    def methods(self) -> dict[str, Method]:
        """Every method, fitted on all training patients."""
        self.progress("fitting the baselines")
        return fit_methods(self.corpus, self.embedder, self.baselines)

    @cached_property
    def spaces(self) -> Spaces:
        """The spaces that the embedding is compared with."""
        return all_spaces(self.corpus, self.baselines)

    @cached_property
    def reader(self) -> Reader:
        """Of whole profiles, and of altered ones as a release is fitted on."""
        self.progress("reading altered views of training and validation profiles")
        altered = AlteredViews.of(self.corpus, self.embedder)
        width = self.embedder.config.width
        return Reader(self.corpus, self.baselines.views, altered, width)

    def thinned(self, *shares: float) -> dict[float, Views]:
        """The known test tumours with a share of their genes."""
        for share in shares:
            if share not in self._thinned:
                self.progress(f"reading the test tumours with {share:.0%} of their genes")
                self._thinned[share] = self._thin("test", share)
        return {share: self._thinned[share] for share in shares}

    @cached_property
    def _thinned(self) -> dict[float, Views]:
        return {}

    def _thin(self, split: str, share: float) -> Views:
        rows = self.corpus.known(split, self.corpus.judged_types)
        return thin_views(self.corpus, self.embedder, rows, share)

    def file(self, name: str) -> Path | None:
        """A file of the reference folder, None where it was not given or lacks it."""
        path = self.reference / name if self.reference else None
        return path if path and path.is_file() else None

    @cached_property
    def sources(self) -> list[leave_out.Setting]:
        """A setting for each data set that can be left out."""
        return leave_out.sources_left_out(self.corpus)


def _classification(c: Context) -> Any:
    return classification(c.corpus, c.embedder, baselines=c.baselines, methods=c.methods)


def _panels(c: Context) -> Any:
    thinned = c.thinned(*(share for share in SHARES if share < 1))
    return panels(c.corpus, c.embedder, baselines=c.baselines, methods=c.methods, thinned=thinned)


def _same_sample(c: Context) -> Any:
    return same_sample(c.corpus, c.embedder)


def _leave_out(c: Context) -> Any:
    plain = Baselines(
        c.corpus, c.baselines.views, config=c.baselines.config, kinds=[PCA], seed=c.baselines.seed
    )
    parts = c.corpus, c.reader.views, c.reader.altered, c.reader.width
    refitted = Refitted(*parts)

    def asked(settings: Sequence[leave_out.Setting], fits: Sequence[Fit]) -> dict[str, Any]:
        # One type alone is told from nothing, and there must be tumours to choose by.
        told = [s for s in settings if _can_be_fitted(c.corpus, s)]
        return leave_out.run(c.corpus, told, fits, progress=c.progress)

    sources = asked(c.sources, [refitted, plain])
    headlines = [s for s in c.sources if s.name in HEADLINES]
    for name, found in asked(headlines, [RefittedFactors(*parts)]).items():
        for test, judged in found["tests"].items():
            sources[name]["tests"][test]["methods"] |= judged["methods"]
    return {
        "sources": sources,
        "one pipeline": asked(leave_out.one_pipeline_only(c.corpus), [refitted, plain]),
        "one unit": asked(leave_out.one_unit_only(c.corpus), [refitted, plain]),
    }


def _can_be_fitted(corpus: EmbeddedCorpus, setting: leave_out.Setting) -> bool:
    return len(setting.types) > 1 and any(
        corpus.genome_wide[i]
        and corpus.labels[i].sample_type == "tumor"
        and corpus.labels[i].study in setting.types
        for i in setting.valid
    )


def _pathways(c: Context) -> Any:
    return pathways(c.corpus, c.spaces, paradigm=c.file(PARADIGM))


def _geometry(c: Context) -> Any:
    return geometry(c.corpus, c.spaces)


def _tissues(c: Context) -> Any:
    return tissues(c.corpus, c.spaces)


def _subtypes(c: Context) -> Any:
    quantiles = c.baselines.views.quantiles
    return subtypes(c.corpus, c.spaces, quantiles=quantiles, labels=c.file(SAMPLE_LABELS))


def _doubt(c: Context) -> Any:
    return doubt(
        c.corpus,
        c.embedder,
        reader=c.reader,
        thinned=c.thinned(0.1, 0.05),
        progress=c.progress,
    )


def _ablations(c: Context) -> Any:
    thinned = {"validation": c._thin("valid", SHARE), "test": c.thinned(SHARE)[SHARE]}
    return ablations(
        c.corpus,
        c.embedder,
        baselines=c.baselines,
        thinned=thinned,
        left_out=next((s for s in c.sources if s.name == HEADLINES[0]), None),
        progress=c.progress,
    )


def _simulated(c: Context) -> Any:
    table = c.file(MEDIANS)
    if table is None:
        return {"left out": "The table of published cohort medians was not given."}
    bench = Bench(c.corpus.corpus, CohortMedians.read(table))
    return {
        "shipped": _shipped_on_simulated(c),
        "left out in turn": simulated_types(bench, progress=c.progress),
        "together": together(bench, SIMULATED),
    }


def _shipped_on_simulated(c: Context) -> dict[str, Any]:
    """What the release says of the few real tumours of types that it learnt from statistics."""
    found = {}
    for study in c.embedder.release.heads.simulated:
        for panel in (False, True):
            rows = [i for i in c.corpus.select("test", panel=panel) if _study(c, i) == study]
            if rows:
                predictions = c.embedder.predict(c.corpus.reading.rows(rows))
                right = np.array([p.top_type == study for p in predictions])
                found[f"{study}, gene panel" if panel else study] = {
                    "profiles": len(rows),
                    "patients": len(set(c.corpus.people(rows))),
                    "top-1": bootstrap_mean(right, c.corpus.people(rows)),
                }
    return found


def _study(c: Context, row: int) -> str:
    return c.corpus.labels[row].study


#: Question → who answers it, in the order of the page.
QUESTIONS: Mapping[str, Callable[[Context], Any]] = {
    "classification": _classification,
    "panels": _panels,
    "same sample": _same_sample,
    "leave out": _leave_out,
    "doubt": _doubt,
    "pathways": _pathways,
    "geometry": _geometry,
    "tissues": _tissues,
    "subtypes": _subtypes,
    "ablations": _ablations,
    "simulated types": _simulated,
}


def evaluate(
    embedder: Embedder,
    corpus: Corpus,
    *,
    reference: Path | None = None,
    questions: Sequence[str] | None = None,
    progress: Progress,
    answered: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Everything that is known of a release, as JSON takes it.

    Parameters
    ----------
    embedder
        The release.
    corpus
        Baselines are fitted on train and chosen on valid, everything is judged on test.
    reference
        Folder with `PARADIGM`, `SAMPLE_LABELS` and `MEDIANS`; what needs a file that is not there
        is left out, and the answer says so.
    questions
        Some of `QUESTIONS`; all by default. Of none, nothing is read.
    progress
        Told in a line what is being done.
    answered
        Given the results so far after every question, so that hours are not lost with the last.

    Returns
    -------
    `release` (id and hash), `corpus` (profiles and patients of each split), `asked` (questions that
    were asked in this run) and, for each question, what its function returns; estimates as
    `value`, `low` and `high`, None where undefined.

    Raises
    ------
    QuestionError
        If a question is not among `QUESTIONS`.
    """
    asked = list(QUESTIONS) if questions is None else list(questions)
    if unknown := sorted(set(asked) - set(QUESTIONS)):
        raise QuestionError(
            f"There is no question {', '.join(unknown)}.",
            f"Ask some of: {', '.join(QUESTIONS)}.",
        )
    results: dict[str, Any] = {
        "release": {"id": embedder.release.id, "sha256": embedder.release.sha256},
        "corpus": _account(corpus),
        "asked": [[]],
    }
    if not asked:
        return results
    progress(f"reading {len(corpus)} profiles")
    context = Context(embedder, EmbeddedCorpus.of(corpus, embedder), reference, progress)
    for name, answer in QUESTIONS.items():
        if name in asked:
            progress(f"asking: {name}")
            results[name] = as_json(answer(context))
            results["asked"][0].append(name)
            answered(results)
    return results


def merge(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Results of two runs on one release; what was asked twice is taken from the second.

    Raises
    ------
    QuestionError
        If they are of two releases.
    """
    if before["release"] != now["release"] or before.get("corpus") != now["corpus"]:
        raise QuestionError(
            "The results that are there are of another release or corpus "
            f"({before['release']['id']}, {before['release']['sha256'][:12]}).",
            "Ask all questions at once, which replaces them.",
        )
    joined = {
        **before,
        **now,
        "asked": [some for some in (*before["asked"], *now["asked"]) if some],
    }
    heads = ("release", "corpus", "asked")
    return {name: joined[name] for name in (*heads, *QUESTIONS) if name in joined}


def _account(corpus: Corpus) -> dict[str, Any]:
    splits: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for label in corpus.labels:
        splits[label.split].append(label.person)
    return {
        split: {"profiles": len(people), "patients": len(set(people))}
        for split, people in splits.items()
    }


def as_json(value: Any) -> Any:
    """Plain dictionaries, lists, texts and numbers of four decimals; None for NaN."""
    if isinstance(value, Estimate):
        return as_json(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): as_json(some) for key, some in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [as_json(some) for some in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return round(float(value), 4) if math.isfinite(value) else None
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{type(value)} is not JSON")
