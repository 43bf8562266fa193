"""The questions of `doubt` put to a release: which profiles are asked about, and how they are read.

Known tumours are the genome-wide test tumours of the judged types. Beside them stand what the
corpus has of other things (test patients: normal tissue, leukaemia, tumours of types that the
release does not know, gene panels) and what is made of known test tumours (`odd_profiles`), of at
most `MADE_OF` patients. Where a type is held out, projection and novelty are fitted without its
tumours; network and factor model, which were fitted without labels, stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus.labels import cohort_of
from specformer_encoder.embedder import Embedder
from specformer_encoder.evaluate import odd_profiles
from specformer_encoder.evaluate.doubt import (
    Kind,
    accuracy_by_share,
    calibration,
    coverage,
    held_out_types,
    novelty_by_kind,
)
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.refit import Reader
from specformer_encoder.evaluate.views import Views
from specformer_encoder.genes import vocabulary
from specformer_encoder.novelty import Evidence, Novelty
from specformer_encoder.novelty_fit import fit_novelty
from specformer_encoder.projection import FloatArray, Projection, fit_projection
from specformer_encoder.reading import Labelled, Reading, evidence
from specformer_encoder.readout import labelled_evidence

#: Patients whose tumours odd and poor profiles are made of.
MADE_OF = 80
#: Two types must be left when one disease, which may be two types, is held out.
_FEWEST_TYPES = 4
#: Kinds that are no tumour of a known type; of the others few should be flagged.
POOR = (
    "real gene panels of known types",
    "known tumours, 10% of the genes",
    "known tumours, 100,000 reads",
)


def doubt(
    corpus: EmbeddedCorpus,
    embedder: Embedder,
    *,
    reader: Reader,
    thinned: Mapping[float, Views],
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Ask every question.

    Parameters
    ----------
    corpus
        The corpus as the release read it.
    embedder
        The release.
    reader
        Of whole and altered profiles.
    thinned
        Share of the genes → views of the known test tumours with no more genes.
    progress
        Told in a line what is being done.

    Returns
    -------
    `calibration` (``100% of the genes`` … → as `doubt.calibration`), `accuracy by share kept`,
    `coverage`, `novelty` (`doubt.novelty_by_kind`; the kinds in `POOR` are poorly measured known
    tumours) and `held out types` (`doubt.held_out_types`).
    """
    heads = embedder.release.heads
    test = corpus.known("test", corpus.judged_types)
    people = corpus.people(test)
    truth = np.array([heads.types.index(corpus.labels[i].study) for i in test], np.int64)

    def probabilities(reading: Reading) -> npt.NDArray[np.float64]:
        return heads.probabilities(embedder.embeddings(reading), reading.measured)

    whole = corpus.reading.rows(test)
    p = probabilities(whole)
    progress("doubt: profiles that are no known tumours")
    others = _from_corpus(corpus, embedder) | _made(corpus, embedder, test)
    progress("doubt: types held out, one at a time")
    return {
        "calibration": {
            f"{share:.0%} of the genes": calibration(
                p if share == 1 else probabilities(thinned[share].reading), truth, people
            )
            for share in (1.0, *thinned)
        },
        "accuracy by share kept": accuracy_by_share(
            p.max(axis=1), p.argmax(axis=1) == truth, people
        ),
        "coverage": coverage(heads.sets, p, truth, people, types=heads.types),
        "novelty": novelty_by_kind(
            heads.novelty, Kind(evidence(whole, embedder.projection), people), others
        ),
        "held out types": _held_out(corpus, reader, embedder.projection),
    }


def _from_corpus(corpus: EmbeddedCorpus, embedder: Embedder) -> dict[str, Kind]:
    """What the test patients of the corpus have besides known tumours."""
    known = set(embedder.release.heads.types)
    normals = corpus.select("test", tumor=False)
    tumors = corpus.select("test")
    studies = [label.study for label in corpus.labels]
    rows = {
        "leukaemia (TARGET)": [i for i in tumors if studies[i].startswith("TARGET-")],
        "normal tissue beside tumours (TCGA)": [i for i in normals if studies[i] != "GTEX"],
        "normal tissue (GTEx)": [i for i in normals if studies[i] == "GTEX"],
        "tumours of types that are not known": [
            i for i in tumors if studies[i].startswith("TCGA-") and studies[i] not in known
        ],
        POOR[0]: [i for i in corpus.select("test", panel=True) if studies[i] in known],
    }
    return {
        name: Kind(evidence(corpus.reading.rows(some), embedder.projection), corpus.people(some))
        for name, some in rows.items()
    }


def _made(corpus: EmbeddedCorpus, embedder: Embedder, test: list[int]) -> dict[str, Kind]:
    """What is made of known test tumours, one of each of some patients."""
    one_each = list({corpus.labels[i].person: i for i in reversed(test)}.values())
    draw = np.random.default_rng(0)
    size = min(MADE_OF, len(one_each))
    rows = sorted(draw.choice(one_each, size, replace=False).tolist())
    symbols = vocabulary().symbols
    ways: dict[str, Callable[[FloatArray], FloatArray]] = {
        "all genes scrambled": lambda x: odd_profiles.scrambled(x, 1.0),
        "half of the genes scrambled": lambda x: odd_profiles.scrambled(x, 0.5),
        "a fifth of the genes scrambled": lambda x: odd_profiles.scrambled(x, 0.2),
        "gene names slipped by one": odd_profiles.shifted,
        "mouse-like": odd_profiles.other_species,
        "noise": odd_profiles.noise,
        "three values only": odd_profiles.flat,
        "tumour cells without tissue": lambda x: odd_profiles.pure(x, symbols),
        POOR[1]: lambda x: odd_profiles.thinned(x, 0.1),
        POOR[2]: lambda x: odd_profiles.shallow(x, 1e5),
    }
    people = corpus.people(rows)
    values = corpus.values(rows)
    return {
        name: Kind(evidence(embedder.read(make(values)), embedder.projection), people)
        for name, make in ways.items()
    }


def _held_out(corpus: EmbeddedCorpus, reader: Reader, projection: Projection) -> dict[str, Any]:
    if len(corpus.judged_types) < _FEWEST_TYPES:
        return {}
    wide = np.flatnonzero(corpus.genome_wide)
    rows = {
        split: [i for i in wide.tolist() if corpus.labels[i].split == split]
        for split in ("train", "valid", "test")
    }
    train, valid, test = (reader.whole(some) for some in rows.values())
    shallow = reader.shallow(rows["valid"])

    shifted = reader.shifted(rows["train"])
    judged = set(corpus.judged_types)

    def fit(types: list[str]) -> tuple[Novelty, Callable[[npt.NDArray[np.int64]], Evidence]]:
        out = judged - set(types)

        def staying(of: Labelled) -> Labelled:
            tumors = np.array([label.sample_type == "tumor" for label in of.labels], bool)
            return of.rows(~(tumors & np.isin(of.studies, list(out))))

        seen = staying(train)
        both = Labelled.join([seen, staying(shifted)])
        cohorts = [cohort_of(x) for x in both.labels]
        projection = fit_projection(both.reading.raw, cohorts, network=reader.width)
        novelty = fit_novelty(
            labelled_evidence(seen, projection),
            labelled_evidence(valid, projection),
            types=types,
            shallow=evidence(shallow.of_types(types).reading, projection),
        )
        return novelty, evidence(test.reading, projection).rows

    # Of these, only the labels are looked at.
    labelled = labelled_evidence(test, projection)
    return held_out_types(fit, labelled, types=corpus.judged_types)
