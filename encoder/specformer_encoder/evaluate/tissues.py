"""Whether normal tissue is in order by organ, without any training on organs.

Three questions of nearest neighbours, by cosine. Every query is a genome-wide test profile and
every neighbour a genome-wide training profile, so never of the same patient.

* GTEx among GTEx: is the majority of the nearest training profiles of the query's tissue, and which
  share of them? Beside it, what the best constant answer would score; and the same with
  only profiles of other pipelines (source and unit) as neighbours, for tissues that another
  pipeline has: tissues that come from one pipeline alone can be told by the pipeline.
* TCGA normals among GTEx: normal tissue beside a tumour, collected and sequenced by another
  consortium. Is the nearest organ of GTEx the right one? Organs that GTEx training profiles have.
* TCGA normals among all: who are their nearest neighbours outside their own pipeline? GTEx of the
  same organ, TCGA normals of the same organ, tumours of the same organ, or anything else. The
  groups differ in size (it stands beside them), and shares follow the size too. Which group is
  nearer, whatever its size, is the probability that one profile of the first, drawn at random, is
  more similar to the query than one of the second: 0.5 if neither is (the area under the ROC
  curve, the statistic of Mann and Whitney).

An organ is coarser than a tissue: cerebellum and cortex are brain. GTEx and the TCGA studies are
brought to one name by `organ_of_tissue` and `ORGAN_OF_STUDY`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.metrics import Estimate, accuracy, bootstrap
from specformer_encoder.evaluate.neighbours import nearest, purity, similarities
from specformer_encoder.evaluate.resampling import mean_estimate
from specformer_encoder.evaluate.spaces import Spaces
from specformer_encoder.projection import FloatArray

MAJORITY = 5
NEIGHBOURS = 10

#: Organ whose normal tissue stands beside the tumours of a study, by GTEx's names. Studies whose
#: organ GTEx does not have (pleura, eye, bile duct, thymus, lymph node, soft tissue, the many sites
#: of head and neck) are not here.
ORGAN_OF_STUDY = {
    "TCGA-ACC": "Adrenal Gland",
    "TCGA-BLCA": "Bladder",
    "TCGA-BRCA": "Breast",
    "TCGA-CESC": "Cervix",
    "TCGA-COAD": "Colon",
    "TCGA-ESCA": "Esophagus",
    "TCGA-GBM": "Brain",
    "TCGA-KICH": "Kidney",
    "TCGA-KIRC": "Kidney",
    "TCGA-KIRP": "Kidney",
    "TCGA-LGG": "Brain",
    "TCGA-LIHC": "Liver",
    "TCGA-LUAD": "Lung",
    "TCGA-LUSC": "Lung",
    "TCGA-OV": "Ovary",
    "TCGA-PAAD": "Pancreas",
    "TCGA-PCPG": "Adrenal Gland",
    "TCGA-PRAD": "Prostate",
    "TCGA-READ": "Colon",
    "TCGA-SKCM": "Skin",
    "TCGA-STAD": "Stomach",
    "TCGA-TGCT": "Testis",
    "TCGA-THCA": "Thyroid",
    "TCGA-UCEC": "Uterus",
    "TCGA-UCS": "Uterus",
}
_SAME_ORGAN = {"Cervix Uteri": "Cervix", "Minor Salivary Gland": "Salivary Gland"}

GTEX_SAME = "GTEx, same organ"
NORMAL_SAME = "TCGA normal, same organ"
TUMOR_SAME = "tumour, same organ"
REST = "another organ"
GROUPS = (GTEX_SAME, NORMAL_SAME, TUMOR_SAME, REST)
#: Pairs of groups that are held against each other.
NEARER = ((GTEX_SAME, TUMOR_SAME), (NORMAL_SAME, TUMOR_SAME), (NORMAL_SAME, GTEX_SAME))

Texts = npt.NDArray[np.str_]


def organ_of_tissue(tissue: str) -> str:
    """Organ of a GTEx tissue; cultured cells have none.

    Examples
    --------
    >>> organ_of_tissue("Brain - Frontal Cortex (BA9)"), organ_of_tissue("Cervix Uteri")
    ('Brain', 'Cervix')
    >>> organ_of_tissue("Cells - Transformed fibroblasts")
    ''
    """
    organ = tissue.partition(" - ")[0]
    return "" if organ == "Cells" else _SAME_ORGAN.get(organ, organ)


def organ(label: SampleLabel) -> str:
    """Organ of a profile, empty where GTEx has no such organ."""
    if label.study == "GTEX":
        return organ_of_tissue(label.tissue)
    return ORGAN_OF_STUDY.get(label.study, "")


def tissues(corpus: EmbeddedCorpus, spaces: Spaces) -> dict[str, Any]:
    """Ask the three questions of every space.

    Parameters
    ----------
    corpus
        Profiles with labels.
    spaces
        Name → (N, E) vectors of all profiles.

    Returns
    -------
    `GTEx`, `TCGA normals among GTEx` and `neighbours of TCGA normals`, each a dictionary with what
    was there (numbers) and `spaces`: space → metric → estimate; or with only `left out`, a
    sentence, where the corpus has no such profiles.
    """
    normals = {split: corpus.select(split, tumor=False) for split in ("train", "test")}
    gtex = {
        split: [i for i in rows if corpus.labels[i].study == "GTEX"]
        for split, rows in normals.items()
    }
    labelled = {i for rows in normals.values() for i in rows if organ(corpus.labels[i])}
    beside = [i for i in normals["test"] if i in labelled and i not in set(gtex["test"])]
    return {
        "GTEx": _gtex(corpus, spaces, gtex["train"], gtex["test"]),
        "TCGA normals among GTEx": _nearest_organ(corpus, spaces, gtex["train"], beside),
        "neighbours of TCGA normals": _neighbourhoods(
            corpus, spaces, normals["train"] + corpus.select("train"), beside
        ),
    }


def _gtex(
    corpus: EmbeddedCorpus, spaces: Spaces, train: list[int], test: list[int]
) -> dict[str, Any]:
    """Tissue of GTEx test profiles by their neighbours in GTEx."""
    if not train or not test:
        return {"left out": "The corpus has no genome-wide GTEx profiles in train and in test."}
    tissue, pipeline = _texts(corpus, "tissue"), pipelines(corpus)
    apart = pipeline[test][:, None] != pipeline[train][None, :]
    right = tissue[test][:, None] == tissue[train][None, :]
    elsewhere = (apart & right).any(axis=1)  # tissues that another pipeline has
    people = corpus.people(test)
    others = np.array(test)[elsewhere]
    found: dict[str, dict[str, Estimate]] = {}
    for name, vectors in spaces.items():
        close = nearest(vectors[test], vectors[train], k=MAJORITY)
        found[name] = _score(tissue[test], tissue[train], close, right.sum(axis=1), people)
        if elsewhere.any():
            close = nearest(vectors[others], vectors[train], k=MAJORITY, allowed=apart[elsewhere])
            scores = _score(
                tissue[others],
                tissue[train],
                close,
                (apart & right).sum(axis=1)[elsewhere],
                corpus.people(others.tolist()),
            )
            found[name] |= {f"{key}, other pipelines": value for key, value in scores.items()}
    return {
        "profiles": len(test),
        "patients": len(set(people)),
        "tissues": dict(sorted(Counter(tissue[test].tolist()).items())),
        "profiles with their tissue in another pipeline": int(elsewhere.sum()),
        "accuracy of the best constant answer": _best_constant(tissue[test]),
        "spaces": found,
    }


def _nearest_organ(
    corpus: EmbeddedCorpus, spaces: Spaces, gtex: list[int], beside: list[int]
) -> dict[str, Any]:
    """Organ of TCGA test normals by their neighbours in GTEx."""
    organs = np.array([organ(label) for label in corpus.labels])
    candidates = [i for i in gtex if organs[i]]
    here = set(organs[candidates].tolist())
    test = [i for i in beside if organs[i] in here]
    if not test:
        return {"left out": "The corpus has no TCGA test normal of an organ of GTEx."}
    people = corpus.people(test)
    found = {}
    for name, vectors in spaces.items():
        close = nearest(vectors[test], vectors[candidates], k=MAJORITY)
        possible = (organs[test][:, None] == organs[candidates][None, :]).sum(axis=1)
        found[name] = _score(organs[test], organs[candidates], close, possible, people)
    return {
        "profiles": len(test),
        "patients": len(set(people)),
        "organs": dict(sorted(Counter(organs[test].tolist()).items())),
        "organs of GTEx": dict(sorted(Counter(organs[candidates].tolist()).items())),
        "accuracy of the best constant answer": _best_constant(organs[test]),
        "spaces": found,
    }


def _neighbourhoods(
    corpus: EmbeddedCorpus, spaces: Spaces, train: list[int], beside: list[int]
) -> dict[str, Any]:
    """Which groups the neighbours of TCGA test normals belong to, outside their own pipeline."""
    pipeline = pipelines(corpus)
    organs = np.array([organ(label) for label in corpus.labels])
    group = np.array([_group(label) for label in corpus.labels])
    apart = pipeline[beside][:, None] != pipeline[train][None, :]
    same = organs[beside][:, None] == organs[train][None, :]
    # Asked only where GTEx and tumours of the organ can both be found.
    asked = np.ones(len(beside), np.bool_)
    for name in (GTEX_SAME, TUMOR_SAME):
        asked &= (apart & same & (group[train] == name)[None, :]).any(axis=1)
    if not asked.any():
        return {
            "left out": "No TCGA test normal has GTEx and tumours of its organ in other pipelines."
        }
    test = np.array(beside)[asked]
    people = corpus.people(test.tolist())
    allowed, kinds = apart[asked], np.where(same[asked], group[train][None, :], REST)
    members = {which: (kinds == which) & allowed for which in GROUPS}
    found = {}
    for name, vectors in spaces.items():
        close = nearest(vectors[test], vectors[train], k=NEIGHBOURS, allowed=allowed)
        kind = np.where(close >= 0, np.take_along_axis(kinds, close, axis=1), "")
        given = (close >= 0).sum(axis=1)
        found[name] = {
            which: mean_estimate((kind == which).sum(axis=1) / given, people) for which in GROUPS
        }
        cosine = similarities(vectors[test], vectors[train])
        for first, second in NEARER:
            both = members[first].any(axis=1) & members[second].any(axis=1)
            if both.any():
                nearer = _nearer(cosine[both], members[first][both], members[second][both])
                found[name][f"{first}, nearer than {second}"] = mean_estimate(
                    nearer, corpus.people(test[both].tolist())
                )
    return {
        "profiles": len(test),
        "patients": len(set(people)),
        "organs": dict(sorted(Counter(organs[test].tolist()).items())),
        "candidates of a query": {
            which: round(float(inside.sum(axis=1).mean()), 1) for which, inside in members.items()
        },
        "spaces": found,
    }


def _nearer(
    similarity: FloatArray, first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """(n,) probability that one of the first group is more similar than one of the second."""
    found = []
    for row, a, b in zip(similarity, first, second, strict=True):
        gap = row[a][:, None] - row[b][None, :]
        found.append(((gap > 0) + 0.5 * (gap == 0)).mean())
    return np.array(found)


def _best_constant(truth: Texts) -> float:
    return Counter(truth.tolist()).most_common(1)[0][1] / len(truth)


def _group(label: SampleLabel) -> str:
    if label.sample_type == "tumor":
        return TUMOR_SAME
    return GTEX_SAME if label.study == "GTEX" else NORMAL_SAME


def pipelines(corpus: EmbeddedCorpus) -> Texts:
    """(N,) what a profile came through: its source and unit."""
    return np.array([f"{label.source} {label.unit}" for label in corpus.labels])


def _texts(corpus: EmbeddedCorpus, name: str) -> Texts:
    return np.array([getattr(label, name) for label in corpus.labels])


def _score(
    truth: Texts,
    names: Texts,
    close: npt.NDArray[np.int64],
    possible: npt.NDArray[np.int64],
    people: list[str],
) -> dict[str, Estimate]:
    """Accuracy of the majority of the neighbours, and their `purity`."""
    found = np.where(close >= 0, names[close], "")
    guess = np.array([_majority(row.tolist()) for row in found])
    return {
        "accuracy": bootstrap(lambda r: accuracy(truth[r], guess[r]), people),
        "purity": mean_estimate(purity(found == truth[:, None], possible), people),
    }


def _majority(names: list[str]) -> str:
    """The commonest name; of equally common ones, that of the nearest neighbour."""
    return Counter(name for name in names if name).most_common(1)[0][0]
