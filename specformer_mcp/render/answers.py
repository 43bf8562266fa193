"""The texts of what the tools answer of one sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from specformer_mcp.render.common import clean, finish
from specformer_mcp.results import (
    Cohort,
    Cohorts,
    Gene,
    Pathway,
    Pathways,
    Prediction,
    UnexpectedGenes,
)

SHOWN_TYPES = 5
NAMED = 0.01
"""Probability from which on it is told where a type is known from."""


def cohorts(answer: Cohorts) -> str:
    """Render the answer of nearest_cohorts."""
    limits = [f"{name} {value}" for name, value in answer.filters.items()]
    if answer.excluded_patient:
        limits.append(f"without patient {clean(answer.excluded_patient)}")
    within = f" ({', '.join(limits)})" if limits else ""
    lines = [f"Nearest cohorts of {clean(answer.name)}{within}:"]
    if answer.nothing_near:
        lines.append(f"NOTHING IS NEAR: {answer.nothing_near}")
    lines += [f"{rank}. {_cohort(match)}" for rank, match in enumerate(answer.cohorts, 1)]
    if answer.too_small:
        some = "; ".join(f"{m.cohort} (n={m.n_patients})" for m in answer.too_small[:5])
        lines.append(f"As near, but of fewer than 3 patients, so not ranked: {some}")
    if answer.published_medians:
        some = "; ".join(f"{m.name} {m.similarity:.3f}" for m in answer.published_medians)
        lines.append(f"Nearest published medians (no real profiles): {some}")
    if answer.nearest_profiles:
        some = "; ".join(f"{p.id} [{p.cohort}] {p.similarity:.3f}" for p in answer.nearest_profiles)
        lines.append(f"Nearest profiles: {some}")
    return finish(lines, answer)


def prediction(answer: Prediction) -> str:
    """Render the answer of predict_cancer_type."""
    shown = list(answer.probabilities.items())[:SHOWN_TYPES]
    types = ", ".join(f"{name} {p:.3f}" for name, p in shown)
    rest = max(0.0, 1 - sum(p for _, p in shown))
    sets = prediction_set(answer.prediction_sets or {"0.9": answer.prediction_set})
    doubt = "; ".join(answer.reasons)
    lines = [
        f"{clean(answer.name)}: {answer.top_type} ({answer.top_name})",
        f"calibrated probabilities: {types}, all others {rest:.3f}",
        f"prediction set ({answer.coverage:.0%} coverage): {sets}",
        f"tumour probability: {answer.tumor_probability:.3f}",
        f"typicality: {answer.typicality:.3f} (share of validation tumours at least as odd)",
        f"OUT OF DISTRIBUTION, do not rely on the type: {doubt}"
        if answer.out_of_distribution
        else "out of distribution: no",
    ]
    named = [name for name, p in shown if p >= NAMED]
    if thin := [name for name in named if name in answer.types_from_statistics]:
        lines.append(
            f"known from published cohort statistics, not from real tumours: {', '.join(thin)}"
        )
    return finish(lines, answer)


def prediction_set(sets: Mapping[str, Sequence[str]], level: str = "0.9") -> str:
    """The types of a prediction set; where it is empty, what that means and the next larger one.

    Examples
    --------
    >>> prediction_set({"0.8": [], "0.9": [], "0.95": ["TCGA-LUAD", "TCGA-LUSC"]})
    'empty (90% of validation tumours are surer of their type); at 95%: TCGA-LUAD, TCGA-LUSC'
    >>> prediction_set({"0.9": []})
    'empty (90% of validation tumours are surer of their type), take the first type as a guess'
    """
    if sets[level]:
        return ", ".join(sets[level])
    larger = [(float(at), names) for at, names in sets.items() if float(at) > float(level)]
    told = [f"at {at:.0%}: {', '.join(names)}" for at, names in sorted(larger) if names]
    empty = f"empty ({float(level):.0%} of validation tumours are surer of their type)"
    return f"{empty}; {told[0]}" if told else f"{empty}, take the first type as a guess"


def pathways(answer: Pathways) -> str:
    """Render the answer of pathway_scores."""
    lines = [
        f"{clean(answer.name)}: {answer.collection} sets that stand out against {answer.against} "
        f"({answer.against_name}, {answer.against_profiles} profiles); z [ssGSEA score]"
    ]
    if answer.higher:
        lines.append("higher: " + "; ".join(map(_pathway, answer.higher)))
    if answer.lower:
        lines.append("lower: " + "; ".join(map(_pathway, answer.lower)))
    lines.append(f"{answer.scored} sets compared, {answer.not_scored} left out")
    return finish(lines, answer)


def unexpected_genes(answer: UnexpectedGenes) -> str:
    """Render the answer of unexpected_genes."""
    lines = [
        f"{clean(answer.name)}: genes that the other {answer.measured} measured genes do not "
        "explain; z [rank percentile, expected]",
        "has: " + ("; ".join(map(_gene, answer.has)) or "none"),
        "lacks: " + ("; ".join(map(_gene, answer.lacks)) or "none"),
    ]
    return finish(lines, answer)


def _cohort(match: Cohort) -> str:
    where = "" if match.percentile is None else f" (percentile {match.percentile:.0f} of members)"
    behind = [f"n={match.n_patients} patients"]
    if match.n_profiles is not None:
        behind.append(f"{match.n_profiles} profiles")
    if match.n_sources is not None:
        behind.append(f"{match.n_sources} data sets")
    return (
        f"{match.cohort} ({match.name}): similarity {match.similarity:.3f}{where}, support "
        f"{match.support}/50, {', '.join(behind)}"
    )


def _pathway(pathway: Pathway) -> str:
    return f"{pathway.gene_set} {pathway.z:+.1f} [{pathway.score:+.3f}]"


def _gene(gene: Gene) -> str:
    surprise = "" if gene.surprisal is None else f", surprisal {gene.surprisal:+.1f}"
    return f"{gene.symbol} {gene.z:+.1f} [{gene.rank:.0f}, {gene.expected:.0f}{surprise}]"
