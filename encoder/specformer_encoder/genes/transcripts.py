"""Transcript-level expression → gene level.

Salmon, kallisto and RSEM estimate expression for each transcript. A gene's TPM is the sum of the
TPM of its transcripts, since both are shares of the same million molecules (Soneson, Love &
Robinson, F1000Research 4:1521, 2015; tximport does the same). Which gene a transcript belongs to is
taken from its own name where GENCODE wrote it there (``ENST…|ENSG…|…``), else from the bundled
table of Ensembl releases 75 to 100 and MANE; see `encoder/scripts/build_transcript_table.py`.

A gene none of whose transcripts stands in the file was not measured and is absent, never zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specformer_encoder.errors import GeneIdentifierError
from specformer_encoder.genes.table import DATA

#: More of a sample's expression than this on transcripts that no table knows is refused. Were they
#: all of genes outside the vocabulary, as most transcripts described since Ensembl 100 are, nothing
#: would be lost; but those genes together hold only 6 to 8 % of the TPM (ten sarcomas of the Toil
#: recompute). A larger share is missing from coding genes, whose sums would be too small without
#: anything in the profile showing it.
MOST_UNKNOWN = 0.10

#: ENST00000269305, with version, with PAR_Y's two spellings, alone or in a GENCODE FASTA header.
_TRANSCRIPT = r"^ENST[0R](?P<number>\d{10})(?:\.\d+)?(?:_PAR_Y)?(?:\||$)"
_GENE_IN_NAME = r"^[^|]+\|ENSG[0R](?P<number>\d{10})(?:\.\d+)?(?:_PAR_Y)?\|"
_REFUSED = (
    (r"^ENSMUST\d{11}", "mouse Ensembl transcripts", "Use a human sample."),
    (r"^ENS[A-Z]{3,4}T\d{11}", "non-human Ensembl transcripts", "Use a human sample."),
    (
        r"^[NX][MR]_\d+",
        "RefSeq transcripts",
        "Sum them to genes first: tximport with a tx2gene table, or `salmon quant -g` with the GTF "
        "of the index.",
    ),
    (
        r"^uc\d{3}[a-z]{3}\.\d+",
        "UCSC transcripts",
        "Sum them to genes first: tximport with a tx2gene table of knownGene.",
    ),
    (
        r"^(MSTRG|STRG)\.\d+",
        "transcripts that StringTie assembled",
        "Quantify against the GENCODE transcripts, or sum these to their reference genes first.",
    ),
)
_EXAMPLES = 3
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class TranscriptGroups:
    """Which transcripts of a file belong to which gene.

    Attributes
    ----------
    gene_ids
        G genes that have a transcript in the file.
    group
        (T,) int64: position of each transcript's gene in `gene_ids`, -1 where it is unknown.
    unknown
        The first few names of unknown transcripts.
    source
        The file's name, for messages.
    """

    gene_ids: list[str]
    group: npt.NDArray[np.int64]
    unknown: tuple[str, ...]
    source: str

    def sum(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Sum transcripts to genes in double precision.

        Parameters
        ----------
        values
            (S, T) values on the linear scale: TPM, or another unit that adds up (FPKM, counts).

        Returns
        -------
        (S, G) float32
            NaN where no transcript of the gene has a value.
        """
        sums = np.empty((len(values), len(self.gene_ids)), np.float32)
        for row, into in zip(values, sums, strict=True):
            used = ~np.isnan(row) & (self.group >= 0)
            into[:] = np.bincount(self.group[used], weights=row[used], minlength=len(into))
            into[np.bincount(self.group[used], minlength=len(into)) == 0] = np.nan
        return sums

    def account(
        self, values: npt.NDArray[np.float32], samples: Sequence[str], *, unit: str = "expression"
    ) -> tuple[str, ...]:
        """Say what was summed and what was left out.

        Parameters
        ----------
        values, samples
            (S, T) values as in `sum`, and their S names.
        unit
            What the values are, for messages.

        Raises
        ------
        GeneIdentifierError
            If unknown transcripts hold more than `MOST_UNKNOWN` of a sample's expression.
        """
        known = self.group >= 0
        notes = [f"{int(known.sum()):,} transcripts were summed to {len(self.gene_ids):,} genes."]
        if known.all():
            return tuple(notes)
        total = np.nansum(values, axis=1, dtype=np.float64)
        unknown = np.nansum(values[:, ~known], axis=1, dtype=np.float64)
        shares = np.divide(unknown, total, out=np.zeros_like(total), where=total > 0)
        worst = int(np.argmax(shares))
        left_out = f"{int((~known).sum()):,} of {len(known):,} transcripts"
        share = f"{shares[worst]:.2%} of the {unit} of sample {samples[worst]!r}"
        if shares[worst] > MOST_UNKNOWN:
            raise GeneIdentifierError(
                f"{left_out} in {self.source!r} have no known gene ({', '.join(self.unknown)}) and "
                f"hold {share}; at most {MOST_UNKNOWN:.0%} may be left out.",
                "Give gene-level values: quant.genes.sf of `salmon quant -g genes.gtf`, or "
                "tximport with the tx2gene table of the index.",
            )
        most = "at most " if len(samples) > 1 else ""
        notes.append(f"{left_out} have no known gene and were left out; they hold {most}{share}.")
        return tuple(notes)


@cache
def _table() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Transcript numbers, ascending, and the gene number of each."""
    table = pq.read_table(DATA / "transcripts.parquet")
    return table["transcript"].to_numpy(), table["gene"].to_numpy()


def _numbers(names: pa.Array, pattern: str) -> npt.NDArray[np.int64]:
    """Group ``number`` of each name as an integer, -1 where the pattern does not match."""
    found = pc.struct_field(pc.extract_regex(names, pattern), "number")
    return np.asarray(pc.fill_null(pc.cast(found, pa.int64()), -1).to_numpy(zero_copy_only=False))


def are_transcripts(names: Sequence[str]) -> bool:
    """Whether most of the names are human Ensembl transcripts.

    Parameters
    ----------
    names
        Row names of a file.
    """
    found = pc.sum(pc.match_substring_regex(pa.array(names, pa.string()), _TRANSCRIPT)).as_py()
    return bool((found or 0) > _HALF * len(names))


def refuse_foreign(names: Sequence[str], source: str) -> None:
    """Refuse transcripts that cannot be placed, by the name of their kind.

    Parameters
    ----------
    names
        Row names of a file.
    source
        The file's name, for the message.

    Raises
    ------
    GeneIdentifierError
        If most of the names are of another species or another catalogue of transcripts.
    """
    array = pa.array(names, pa.string())
    for pattern, what, remedy in _REFUSED:
        hits = pc.indices_nonzero(pc.match_substring_regex(array, pattern)).to_pylist()
        if len(hits) > _HALF * len(names):
            shown = ", ".join(names[row] for row in hits[:_EXAMPLES])
            raise GeneIdentifierError(
                f"{source!r} has {what} ({shown}; {len(hits):,} of {len(names):,} rows), where "
                "human Ensembl transcripts (ENST…) or genes were expected.",
                remedy,
            )


def gene_numbers(names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Find the gene of each transcript.

    Parameters
    ----------
    names
        T transcript names, with or without version, or whole GENCODE FASTA headers.

    Returns
    -------
    (T,) int64
        Number of the Ensembl gene id, -1 where the transcript is unknown.

    Examples
    --------
    >>> gene_numbers(["ENST00000269305.9", "ENST00000269305", "MSTRG.1.2"]).tolist()
    [141510, 141510, -1]
    """
    array = pa.array(names, pa.string())
    transcripts, genes = _table()
    wanted = _numbers(array, _TRANSCRIPT)
    place = np.minimum(np.searchsorted(transcripts, wanted), len(transcripts) - 1)
    from_table = np.where(transcripts[place] == wanted, genes[place], -1)
    from_name = _numbers(array, _GENE_IN_NAME)
    return np.where(from_name >= 0, from_name, from_table)


def group_transcripts(names: Sequence[str], source: str) -> TranscriptGroups:
    """Find the gene of each transcript of a file.

    Parameters
    ----------
    names
        T transcript names, with or without version, or whole GENCODE FASTA headers.
    source
        The file's name, for messages.

    Raises
    ------
    GeneIdentifierError
        If a transcript stands in the file twice.
    """
    refuse_repeats(names, source)
    numbers = gene_numbers(names)
    known = numbers >= 0
    genes, places = np.unique(numbers[known], return_inverse=True)
    group = np.full(len(names), -1)
    group[known] = places
    unknown = tuple(names[row] for row in np.flatnonzero(~known)[:_EXAMPLES])
    return TranscriptGroups([f"ENSG{n:011d}" for n in genes.tolist()], group, unknown, source)


def group_by_gene(names: Sequence[str], genes: Sequence[str], source: str) -> TranscriptGroups:
    """Group transcripts by the gene that the file itself gives for each.

    Parameters
    ----------
    names
        T transcript names.
    genes
        T gene ids of any kind.
    source
        The file's name, for messages.

    Raises
    ------
    GeneIdentifierError
        If a transcript stands in the file twice.
    """
    refuse_repeats(names, source)
    encoded = pa.array(genes, pa.string()).dictionary_encode()
    group = encoded.indices.to_numpy().astype(np.int64)
    return TranscriptGroups(encoded.dictionary.to_pylist(), group, (), source)


def refuse_repeats(names: Sequence[str], source: str) -> None:
    """Refuse a file in which a transcript has two rows (PAR_Y copies have a name of their own).

    Parameters
    ----------
    names
        Row names of a file.
    source
        The file's name, for the message.

    Raises
    ------
    GeneIdentifierError
        Naming the first of them.
    """
    if len(set(names)) == len(names):
        return
    repeated = [name for name, times in Counter(names).items() if times > 1]
    raise GeneIdentifierError(
        f"{source!r} has {len(repeated):,} transcripts in more than one row "
        f"({', '.join(repeated[:_EXAMPLES])}); one row a transcript was expected.",
        "Two files may have been joined: give one file a sample, as the program wrote it.",
    )
