"""The texts of embed_sample and forget."""

from __future__ import annotations

from specformer_mcp.render.common import clean, counted, finish
from specformer_mcp.results import EVEN, Embedded, EmbeddedSample, Forgotten


def embedded(answer: Embedded) -> str:
    """Render the answer of embed_sample."""
    genes, unit = answer.genes, answer.unit
    lines = [_sample(one) for one in answer.samples]
    if answer.next_cursor is not None:
        lines.append(
            f"… {answer.n_samples} samples in all; the next page has cursor={answer.next_cursor}"
        )
    if answer.n_samples > 1:
        done = answer.summary
        lines.append(
            f"{done.embedded} of {answer.n_samples} embedded; top types: {counted(done.top_types)};"
            f" out of distribution {done.out_of_distribution}, likely normal tissue "
            f"{done.likely_normal}"
        )
    lines += [f"left out: {clean(one.name)}: {one.reason}" for one in answer.left_out]
    how = "stated by the caller" if unit.overridden else f"confidence {unit.confidence:.2f}"
    lines += [
        f"unit: {unit.name}, {unit.scale} ({how})",
        *(f"unit warning: {clean(warning, width=240)}" for warning in unit.warnings),
    ]
    account = genes.account or [
        f"{genes.measured} of {genes.vocabulary} vocabulary genes from {genes.rows} rows "
        f"({clean(genes.identifiers)}); {genes.unknown} unknown, {genes.ambiguous} ambiguous, "
        f"{genes.merged} rows share their gene with another row, {genes.repaired} dates turned back"
    ]
    lines += [f"genes: {clean(line, width=240)}" for line in account]
    return finish(lines, answer)


def forgotten(answer: Forgotten) -> str:
    """Render the answer of forget."""
    if not answer.forgotten:
        return f"Nothing to forget: no such sample is kept. {answer.left} samples are still kept."
    return f"Forgotten: {answer.forgotten}. {answer.left} samples are still kept."


def _sample(one: EmbeddedSample) -> str:
    text = f"{one.sample} = {clean(one.name)} ({one.genes_measured} genes)"
    if one.top_type is None or one.probability is None:
        return f"{text}: not embedded yet"
    odd = ", OUT OF DISTRIBUTION" if one.out_of_distribution else ""
    if one.tumor_probability is not None and one.tumor_probability < EVEN:
        odd += ", likely normal tissue"
    return f"{text}: {one.top_type} {one.probability:.2f}{odd}"
