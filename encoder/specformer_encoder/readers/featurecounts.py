"""featureCounts: one table for all alignment files of a run.

Below a comment with the command line stand `Geneid Chr Start End Strand Length`, then attributes
that were asked for, then one column of counts for each BAM file, headed by its path.
A sample is named by its BAM file without the endings that aligners and sorters add, so long as the
names stay apart; else by the folder or by the whole path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from specformer_encoder.errors import InputFileError
from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.layout_names import is_text
from specformer_encoder.readers.matrix import assemble
from specformer_encoder.readers.opening import Limits, check_size
from specformer_encoder.readers.pieces import parse
from specformer_encoder.readers.single import refuse_negative, refuse_no_rows

_COLUMNS = ["Geneid", "Chr", "Start", "End", "Strand", "Length"]
#: What aligners, sorters and duplicate markers add to a file name, each at its end.
_ADDED = re.compile(
    r"(\.(bam|sam|cram)|[._]?Aligned[._](sortedByCoord|toTranscriptome)?\.?out|[._]?Aligned"
    r"|[._-](sort(ed)?|pos_?sort(ed)?|coord_?sort(ed)?|name_?sort(ed)?|nsort(ed)?|mark_?dup(e?d|s"
    r"|licates)?|rm_?dup|de_?dup(ed|licated)?|umi_dedup|filt(ered)?|uniq(ue)?|primary|hisat2?|star"
    r"|accepted_hits|out))$",
    re.IGNORECASE,
)


def matches(head: Head) -> bool:
    """Whether the header is featureCounts'."""
    return head.rows[0][: len(_COLUMNS)] == _COLUMNS


def read(path: Path, head: Head, *, limits: Limits) -> RawMatrix:
    """Read a featureCounts table.

    Parameters
    ----------
    path, head
        The file and its head.
    limits
        Caps on bytes, samples and genes.

    Returns
    -------
    RawMatrix
        One sample a BAM file, declared as counts.
    """
    names, data = head.rows[0], head.rows[1:]
    refuse_no_rows(head, path.name, "Run featureCounts again.")
    # --extraAttributes puts texts such as gene_name between Length and the counts.
    columns = [
        j
        for j in range(len(_COLUMNS), len(names))
        if not is_text([row[j] for row in data if j < len(row)], head.decimal)
    ]
    if not columns:
        raise InputFileError(
            f"{path.name!r} has featureCounts' first columns and none of counts.",
            "Give the table as featureCounts wrote it.",
        )
    check_size(path.name, limits, samples=len(columns))
    (gene_ids,), values = parse(
        path,
        head,
        names=names,
        header_rows=1,
        text_columns=[0],
        value_columns=columns,
        limits=limits,
    )
    paths = [names[j] for j in columns]
    samples = sample_names(paths)
    refuse_negative(values, gene_ids, samples, path.name)
    notes: tuple[str, ...] = ()
    if samples != paths:
        notes = (
            f"Samples are named after their alignment files: {paths[0]!r} became {samples[0]!r}.",
        )
    return assemble(
        gene_ids,
        samples,
        values,
        source=path.name,
        limits=limits,
        file_format="featurecounts",
        declared_unit="counts",
        notes=notes,
    )


def sample_names(paths: list[str]) -> list[str]:
    """Short names for alignment files, as long as they need to be to stay apart.

    Examples
    --------
    >>> sample_names(["/data/P1Aligned.sortedByCoord.out.bam", "/data/P2.sorted.bam"])
    ['P1', 'P2']
    >>> sample_names(["P1/Aligned.sortedByCoord.out.bam", "P2/Aligned.sortedByCoord.out.bam"])
    ['P1', 'P2']
    """
    ways: tuple[Callable[[str], str], ...] = (_bare, _file, _folder)
    for way in ways:
        names = [way(path) for path in paths]
        if all(names) and len(set(names)) == len(names):
            return names
    return paths


def _parts(path: str) -> list[str]:
    return re.split(r"[/\\]", path)


def _file(path: str) -> str:
    return re.sub(r"\.(bam|sam|cram)$", "", _parts(path)[-1], flags=re.IGNORECASE)


def _bare(path: str) -> str:
    name = _parts(path)[-1]
    while (rest := _ADDED.sub("", name)) != name:
        name = rest
    return name.rstrip("._-")


def _folder(path: str) -> str:
    parts = _parts(path)
    return parts[-2] if len(parts) > 1 else ""
