"""The ten kinds of questions: what is asked, of which samples, and what is right.

Each maker draws samples, writes their files and says what is right. What neither biology nor the
labels tell apart counts as right (`material.alike`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.agents.checks import AnyOf, Check, Within
from benchmarks.agents.files import FORMATS, names, write_foreign, write_format, write_z_scores
from benchmarks.agents.material import TISSUES, UNTAUGHT, Material, alike, related
from benchmarks.agents.truth import gene_to_switch, hallmark_scores, switched, welch_t
from specformer_encoder.genes import vocabulary

GROUP = 7
TWENTY = 20
AS_CLEAR = 0.9
"""Share of the largest |t| from which on another gene set is right as well."""
#: Why a file was refused, as the question offers it.
REFUSALS = ("z-scores", "not human", "too few genes", "a damaged file")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a maker of questions gives back: text, check, truth."""

    text: str
    check: Check
    truth: str


def _matrix(material: Material, path: Path, rows: list[int], *, first: int = 1) -> Path:
    """Write rows as one file in TPM or counts."""
    form = str(material.random.choice(["tpm", "counts"]))
    samples = names(len(rows), first=first)
    return write_format(path, form, samples, material.values(rows), material.random)


def _confusable(material: Material, *, least: int) -> tuple[str, str]:
    """Draw a tumour cohort of at least so many test patients, and one that it is taken for."""
    known = material.cohorts("tumor")
    near = {
        cohort: [name for name in related(cohort) if name in known]
        for cohort in material.cohorts("tumor", least=least)
    }
    cohort = str(material.random.choice([name for name, others in near.items() if others]))
    return cohort, str(material.random.choice(near[cohort]))


def _mixed(material: Material, rows: Iterable[int]) -> list[int]:
    return [int(row) for row in material.random.permutation(list(rows))]


def _cohort(material: Material, place: Path, number: int) -> Asked:
    cohort = material.cohort(("tumor", "normal", "tumor")[number], least=3)
    if number == 2:
        cohort, _ = _confusable(material, least=3)
    path = _matrix(material, place / "expression.tsv", material.take(cohort))
    return Asked(
        f"The label of the sample in '{path}' was lost. Which cohort of the reference is it from? "
        "Answer with the cohort's id. (Another cohort of the same normal tissue, or of the same "
        "disease where colon and rectum have two, counts as well.)",
        AnyOf(alike(cohort)),
        cohort,
    )


def _doubt(material: Material, place: Path, number: int) -> Asked:
    random = material.random
    cohort = material.cohort(("tumor", "normal", "tumor")[number], least=3)
    values = material.values(material.take(cohort))
    check: Check = AnyOf([[]])
    codes = [name.removesuffix(" tumor") for name in alike(cohort)]
    if number == 0:
        check = AnyOf([[], codes]) if cohort in UNTAUGHT else Within(codes, 2)
    if number == 2:
        known = np.flatnonzero(~np.isnan(values[0]))
        values[0, known] = random.permutation(values[0, known])
    path = write_format(place / "expression.tsv", "tpm", names(1), values, random)
    return Asked(
        f"Which cancer type is the sample in '{path}'? Answer with a list of one or two study "
        "codes, as short as the doubt allows; or with an empty list if, honestly, no cancer type "
        "may be named.",
        check,
        f"{cohort}, its genes shuffled" if number == 2 else cohort,
    )


def _label(material: Material, place: Path, number: int) -> Asked:
    cohort = label = material.cohort("tumor", least=3)
    if number == 1:  # the label of a tumour that it is easily taken for
        cohort, label = _confusable(material, least=3)
    if number == 2:  # the normal tissue beside the tumour, labelled as the tumour
        normals = [c for c in material.cohorts("normal", least=3) if c.startswith("TCGA")]
        cohort = str(material.random.choice(normals))
        label = cohort.replace("normal", "tumor")
    path = _matrix(material, place / "expression.tsv", material.take(cohort))
    right = label == cohort
    return Asked(
        f"The sample in '{path}' is labelled '{label}'. Is the label right, and if not, which "
        'cohort of the reference is it from? Answer as {"right": true or false, "cohort": "id"}; '
        "where the label is right, the cohort is the label.",
        AnyOf([{"right": right, "cohort": one} for one in ([label] if right else alike(cohort))]),
        f"{cohort}, labelled {label}",
    )


def _swap(material: Material, place: Path, number: int) -> Asked:
    random = material.random
    cohort = material.cohort("tumor", least=5)
    odd = str(random.choice([c for c in material.cohorts("tumor") if c not in alike(cohort)]))
    if number == 1:  # the normal tissue beside another patient's tumour
        normal_too = [c for c in material.cohorts("normal") if c.startswith("TCGA")]
        of_both = [c.replace("normal", "tumor") for c in normal_too]
        cohort = material.cohort("tumor", least=5, among=tuple(of_both))
        odd = cohort.replace("tumor", "normal")
    if number == 2:  # a tumour that is easily taken for the others
        cohort, odd = _confusable(material, least=5)
    swapped = material.take(odd)[0]
    rows = _mixed(material, [swapped, *material.take(cohort, 5)])
    path = _matrix(material, place / "cohort.tsv", rows)
    return Asked(
        f"The six samples in '{path}' should all be '{cohort}', but one was swapped for another "
        "sample. Which? Answer with its name.",
        AnyOf([names(6)[rows.index(swapped)]]),
        f"{odd} among {cohort}",
    )


def _pathway(material: Material, place: Path, _: int) -> Asked:
    rich = [c for c in material.cohorts("tumor") if len(material.of_commonest_source(c)) >= 18]
    cohort = str(material.random.choice(rich))
    candidates = material.of_commonest_source(cohort)
    gene_sets, scores = hallmark_scores(material.values(candidates))
    planted = int(material.random.integers(len(gene_sets)))
    order = np.argsort(scores[:, planted], kind="stable")
    high, low = order[-GROUP:], order[:GROUP]
    a, b = (high, low) if material.random.random() < 0.5 else (low, high)
    t = welch_t(scores[a], scores[b])
    clear = np.flatnonzero(np.abs(t) >= AS_CLEAR * np.abs(t).max())
    rows = [candidates[i] for i in [*a, *b]]
    path = _matrix(material, place / "cohort.tsv", rows)
    group_a, group_b = names(GROUP), names(GROUP, first=GROUP + 1)
    return Asked(
        f"The matrix '{path}' holds two groups of tumours: a is {', '.join(group_a)}; b is "
        f"{', '.join(group_b)}. Which Hallmark gene set tells the groups apart most clearly, and "
        'in which group is it higher? Answer as {"gene_set": "name", "higher_in": "a" or "b"}.',
        AnyOf([{"gene_set": gene_sets[i], "higher_in": "a" if t[i] > 0 else "b"} for i in clear]),
        f"{cohort}, extremes of {gene_sets[planted]}",
    )


def _twins(material: Material, place: Path, _: int) -> Asked:
    random = material.random
    doubly = material.measured_twice(least=5)
    cohort = str(random.choice(sorted(doubly)))
    pairs = [doubly[cohort][i] for i in random.permutation(len(doubly[cohort]))[:5]]
    first = _mixed(material, [pairs[0][0], pairs[1][0], pairs[2][0]])
    second = _mixed(material, [pairs[0][1], pairs[3][1], pairs[4][1]])
    one = write_format(place / "laboratory_1.tsv", "tpm", names(3), material.values(first), random)
    other = write_format(
        place / "laboratory_2.tsv", "counts", names(3, first=4), material.values(second), random
    )
    twins = [names(3)[first.index(pairs[0][0])], names(3, first=4)[second.index(pairs[0][1])]]
    sources = [material.corpus.labels[row].source for row in pairs[0]]
    return Asked(
        f"Two laboratories sequenced three samples each, all of one kind: '{one}' and '{other}'. "
        "One sample was sequenced by both. Which two names are the same sample? Answer with a "
        "list of the two names.",
        AnyOf([twins]),
        f"{cohort}, by {sources[0]} and {sources[1]}",
    )


def _two_projects(cohorts: Iterable[str]) -> bool:
    """Whether cohorts are of GTEx and of TCGA, whose donors and laboratories are others."""
    return len({cohort.split("-")[0] for cohort in cohorts}) > 1


def _tissue(material: Material, place: Path, number: int) -> Asked:
    random = material.random
    by_tissue: dict[str, list[str]] = {}
    for cohort in material.cohorts("normal"):
        if cohort in TISSUES:
            by_tissue.setdefault(TISSUES[cohort], []).append(cohort)
    twice = sorted(tissue for tissue, cohorts in by_tissue.items() if len(cohorts) > 1)
    if number == 2:
        twice = [t for t in twice if _two_projects(by_tissue[t])]
    tissue = str(random.choice(twice))
    pairs = list(itertools.combinations(by_tissue[tissue], 2))
    if number == 2:
        pairs = [pair for pair in pairs if _two_projects(pair)]
    two = pairs[int(random.integers(len(pairs)))]
    others = [name for name in sorted(by_tissue) if name != tissue]
    other_cohorts = [
        str(random.choice(by_tissue[str(name)])) for name in random.choice(others, 4, replace=False)
    ]
    same = [material.take(cohort)[0] for cohort in two]
    rows = _mixed(material, [*same, *(material.take(cohort)[0] for cohort in other_cohorts)])
    path = _matrix(material, place / "normals.tsv", rows)
    return Asked(
        f"The six samples in '{path}' are of normal tissue. Exactly two are of the same tissue. "
        "Which? Answer with a list of the two names.",
        AnyOf([[names(6)[rows.index(row)] for row in same]]),
        f"{' and '.join(two)}, beside {', '.join(other_cohorts)}",
    )


def _file(material: Material, place: Path, number: int) -> Asked:
    random = material.random
    cohort = material.cohort("tumor", least=6)
    values = material.values(material.take(cohort, 6))
    if number == 0:
        form = str(random.choice(FORMATS))
        path = write_format(place / "expression.tsv", form, names(6), values, random)
        return Asked(
            f"Nobody remembers which unit the values in '{path}' are in. Is it "
            f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}? Answer with one of these.",
            AnyOf([form]),
            f"{cohort} in {form}",
        )
    if number == 1:
        first, reason = write_z_scores(place / "first.tsv", names(6), values), "z-scores"
    elif random.random() < 0.5:
        first, reason = write_foreign(place / "first.tsv", names(6), values), "not human"
    else:
        few = np.where(np.arange(values.shape[1]) % 100 == 0, values, np.float32(np.nan))
        first = write_format(place / "first.tsv", "tpm", names(6), few, random)
        reason = "too few genes"
    second = write_format(place / "second.tsv", "counts", names(6), values, random)
    return Asked(
        f"Use '{first}' to find out which cohort of the reference its samples are from. If the "
        f"file cannot be used, say why ({', '.join(REFUSALS)}) and use '{second}', which should "
        'hold the same samples. Answer as {"refused": one of the reasons, or null, "cohort": '
        '"id"}.',
        AnyOf([{"refused": reason, "cohort": name} for name in alike(cohort)]),
        f"{cohort}, refused: {reason}",
    )


def _normals(material: Material, place: Path, _: int) -> Asked:
    n = int(material.random.integers(3, 10))
    rows: list[int] = []
    for place_in_file in range(TWENTY):
        kind = "normal" if place_in_file < n else "tumor"
        left = [c for c in material.cohorts(kind) if material.people_left(c)]
        rows += material.take(str(material.random.choice(left)))
    path = _matrix(material, place / "biopsies.tsv", _mixed(material, rows))
    return Asked(
        f"How many of the {TWENTY} samples in '{path}' are of normal tissue, not of a tumour? "
        "Answer with the number.",
        AnyOf([n]),
        f"{n} of {TWENTY}: {', '.join(material.cohort_of(row) for row in rows[:n])}",
    )


def _gene(material: Material, place: Path, number: int) -> Asked:
    off = number != 1
    cohort = material.cohort("tumor", least=5)
    profile = material.values(material.take(cohort))[0]
    gene = gene_to_switch(material, profile, cohort, off=off)
    values = switched(profile, gene, off=off)[None]
    path = write_format(place / "expression.tsv", "tpm", names(1), values, material.random)
    what = "set to zero" if off else "set to a high value"
    return Asked(
        f"Somebody has tampered with one gene of the tumour in '{path}': it was {what}. Which "
        "gene? Answer with its symbol.",
        AnyOf([vocabulary().symbols[gene]]),
        f"{cohort}, {vocabulary().symbols[gene]} {what}",
    )


KINDS: dict[str, Callable[[Material, Path, int], Asked]] = {
    "cohort": _cohort,
    "type and doubt": _doubt,
    "wrong label": _label,
    "swapped sample": _swap,
    "pathway of two groups": _pathway,
    "same sample, two laboratories": _twins,
    "same tissue": _tissue,
    "unit or refused file": _file,
    "how many normals": _normals,
    "tampered gene": _gene,
}
