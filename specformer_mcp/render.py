"""What the model reads: compact text, a few hundred tokens, never a raw vector.

Sample names come from the user's file and are untrusted: control characters and line breaks are
taken out and long names are cut, so that a name cannot pass for a line of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from specformer_mcp.results import Cohort, Cohorts, Embedded, Pathway, Pathways, Prediction
from specformer_mcp.results import Provenance as ProvenanceModel

TEXT_SAMPLES = 20
SHOWN_TYPES = 5
NAMED = 0.01
"""Probability from which on it is told where a type is known from."""


def clean(text: str, *, width: int = 60) -> str:
    """Return untrusted text on one line, printable and of limited length."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= width else f"{line[: width - 1]}…"


def embedded(answer: Embedded) -> str:
    """Render the answer of embed_sample."""
    genes, unit = answer.genes, answer.unit
    lines = [
        f"{one.sample} = {clean(one.name)} ({one.genes_measured} genes)"
        for one in answer.samples[:TEXT_SAMPLES]
    ]
    hidden = answer.n_samples - len(lines)
    if hidden:
        lines.append(
            f"… and {hidden} more samples, embedded too; for one of them call embed_sample again "
            "with sample=NAME."
        )
    lines += [
        f"left out: {clean(one.name)}: {one.reason}" for one in answer.left_out[:TEXT_SAMPLES]
    ]
    how = "stated by the caller" if unit.overridden else f"confidence {unit.confidence:.2f}"
    lines += [
        f"unit: {unit.name}, {unit.scale} ({how})",
        *(f"unit warning: {warning}" for warning in unit.warnings),
        *(f"genes: {clean(line, width=240)}" for line in genes.account),
        *(f"note: {clean(line, width=240)}" for line in answer.notes),
    ]
    return _with_provenance(lines, answer.provenance)


def cohorts(answer: Cohorts) -> str:
    """Render the answer of nearest_cohorts."""
    left_out = f", without patient {answer.excluded_patient}" if answer.excluded_patient else ""
    lines = [f"Nearest cohorts of {clean(answer.name)}{left_out}:"]
    lines += [f"{rank}. {_cohort(match)}" for rank, match in enumerate(answer.cohorts, 1)]
    if answer.too_small:
        some = "; ".join(f"{m.cohort} (n={m.n_profiles})" for m in answer.too_small[:5])
        lines.append(f"As near, but of fewer than 3 patients, so not ranked: {some}")
    if answer.published_medians:
        some = "; ".join(f"{m.name} {m.similarity:.3f}" for m in answer.published_medians)
        lines.append(f"Nearest published medians (no real profiles): {some}")
    if answer.nearest_profiles:
        some = "; ".join(f"{p.id} [{p.cohort}] {p.similarity:.3f}" for p in answer.nearest_profiles)
        lines.append(f"Nearest profiles: {some}")
    return _with_provenance([*lines, *answer.notes], answer.provenance)


def prediction(answer: Prediction) -> str:
    """Render the answer of predict_cancer_type."""
    shown = list(answer.probabilities.items())[:SHOWN_TYPES]
    types = ", ".join(f"{name} {p:.3f}" for name, p in shown)
    rest = len(answer.probabilities) - len(shown)
    sets = prediction_set(answer.prediction_sets)
    doubt = "; ".join(answer.reasons)
    lines = [
        f"{clean(answer.name)}: {answer.top_type} ({answer.top_name})",
        f"calibrated probabilities: {types}" + (f" ({rest} further types below)" if rest else ""),
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
    return _with_provenance(lines, answer.provenance)


def prediction_set(sets: Mapping[str, Sequence[str]], level: str = "0.9") -> str:
    """The types of a prediction set; where it is empty, what that means and the next larger one.

    Examples
    --------
    >>> prediction_set({"0.8": [], "0.9": [], "0.95": ["TCGA-LUAD", "TCGA-LUSC"]})
    'empty, no type is likely enough to be named; at 95%: TCGA-LUAD, TCGA-LUSC'
    """
    if sets[level]:
        return ", ".join(sets[level])
    larger = [(float(at), names) for at, names in sets.items() if float(at) > float(level)]
    told = [f"at {at:.0%}: {', '.join(names)}" for at, names in sorted(larger) if names]
    return "; ".join(["empty, no type is likely enough to be named", *told[:1]])


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
    return _with_provenance([*lines, *answer.notes], answer.provenance)


def provenance(answer: ProvenanceModel) -> str:
    """Render the provenance on one line."""
    return (
        f"[{answer.release} sha256 {answer.release_sha256[:12]}, index {answer.index}, "
        f"server {answer.server}]"
    )


def _with_provenance(lines: list[str], source: ProvenanceModel) -> str:
    return "\n".join([*lines, provenance(source)])


def _cohort(match: Cohort) -> str:
    return (
        f"{match.cohort} ({match.name}): similarity {match.similarity:.3f}, support "
        f"{match.support}/50, n={match.n_profiles} profiles of {match.n_patients} patients, "
        f"{match.n_sources} data sets"
    )


def _pathway(pathway: Pathway) -> str:
    return f"{pathway.gene_set} {pathway.z:+.1f} [{pathway.score:+.3f}]"
