"""What the names of columns and the look of cells say about an expression table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from specformer_encoder.genes.kinds import fold
from specformer_encoder.genes.table import HOW, lookup

#: Cells that mean "no value".
MISSING = ("", "NA", "N/A", "na", "n/a", "#N/A", "null", "NULL", "None", "<NA>")

_ENSEMBL_NAMES = {
    "gene_id", "geneid", "ensembl_id", "ensembl", "ensembl_gene_id", "ensg", "name", "id",
    "ensembl_gene", "ensembl_id_version", "gene_stable_id", "feature_id", "gene_ids",
}  # fmt: skip
SYMBOL_NAMES = {
    "gene", "genes", "symbol", "symbols", "gene_symbol", "genesymbol", "hgnc_symbol", "hugo_symbol",
    "gene_name", "genename", "gene_names", "external_gene_name", "symbol|entrez", "hgnc",
    "hybridization_ref", "feature_name", "gene_short_name",
}  # fmt: skip
ENTREZ_NAMES = {"entrez", "entrez_id", "entrezid", "entrez_gene_id", "ncbi_gene_id", "entrezgene"}
GENE_NAMES = _ENSEMBL_NAMES | SYMBOL_NAMES | ENTREZ_NAMES
#: Columns that describe a gene (or a sample) and are never samples (or genes).
ANNOTATION = GENE_NAMES | {
    "description", "gene_type", "gene_biotype", "biotype", "genetype", "gene_description", "chr",
    "chrom", "chromosome", "chromosome_name", "seqnames", "start", "end", "start_position",
    "end_position", "strand", "length", "gene_length", "width", "effective_length", "eff_length",
    "effectivelength", "exonic_length", "transcript_length", "transcript_id", "transcript_id(s)",
    "transcript_ids", "cytoband", "band", "locus", "tracking_id", "target_id", "feature", "probe",
    "probe_id", "id_ref", "gc", "gc_content", "percentage_gene_gc_content", "accession", "source",
    "uniprot", "hgnc_id", "refseq", "bp_length", "__index_level_0__",
}  # fmt: skip
#: Columns that list the transcripts of a gene (RSEM).
TRANSCRIPT_LISTS = {"transcript_id(s)", "transcript_ids"}
#: Columns of a differential expression test, and those that are one only beside them.
STATISTICS = {
    "basemean", "log2foldchange", "lfcse", "pvalue", "p_value", "padj", "adj_p_val", "logfc",
    "logcpm", "fdr", "aveexpr", "foldchange", "fold_change", "log2_fold_change", "qvalue",
    "q_value", "pval", "p_val", "log2fc", "svalue", "p_adj",
}  # fmt: skip
WEAK_STATISTICS = {"stat", "t", "b", "f", "lr", "dispersion"}
#: Columns that name a sample, and those that describe it and are no genes although some of them
#: are a gene's previous symbol.
SAMPLE_NAMES = {
    "", "sample", "samples", "sample_id", "sampleid", "sample_name", "samplename", "barcode",
    "bcr_patient_barcode", "bcr_sample_barcode", "submitter_id", "sample_submitter_id", "patient",
    "patient_id", "patientid", "subject", "subject_id", "case", "case_id", "id", "run", "name",
    "depmap_id", "modelid", "model_id", "cell_line", "sampid", "geo_accession", "accession",
    "file_id", "unnamed:_0", "index", "donor", "donor_id", "participant_id",
}  # fmt: skip
CLINICAL = {
    "age", "sex", "gender", "race", "ethnicity", "stage", "grade", "t", "n", "m", "os", "pfs",
    "dfs", "dss", "pfi", "dfi", "rfs", "efs", "os_time", "pfs_time", "dfs_time", "dss_time",
    "pfi_time", "dfi_time", "os_event", "os_status", "os_days", "os_months", "time", "event",
    "status", "vital", "vital_status", "days_to_death", "days_to_last_follow_up", "futime",
    "fustat", "label", "labels", "class", "target", "type", "subtype", "cluster", "batch", "group",
    "condition", "treatment", "tissue", "site", "cancer_type", "disease", "cohort", "project",
    "study", "purity", "bmi", "height", "weight", "rin", "unnamed:_0", "index", "year", "days",
    "response", "censor", "y",
}  # fmt: skip
#: Names of a value column that say what the value is, not whose it is.
VALUE_NAMES = {
    "value", "values", "expression", "x", "v1", "v2", "count", "counts", "raw_count", "raw_counts",
    "expected_count", "est_counts", "numreads", "normalized_count", "scaled_estimate", "tpm",
    "fpkm", "rpkm", "cpm", "fpkm_uq", "abundance", "isopct", "unstranded", "rsem", "0", "1",
}  # fmt: skip

#: Identifiers that no sample has: Ensembl, RefSeq, SYMBOL|ENTREZ, and DepMap's SYMBOL (ENTREZ).
GENE_ID = re.compile(
    r"(\S+[_|])?ENS[A-Z]{0,4}[GT]R?\d{10,11}.*|[NX][MR]_\d+.*|[^|\s]+\|\d+|\S+ \(\d+\)"
)
SAMPLE_ID = re.compile(
    r"(TCGA|GTEX|TARGET|SRR|ERR|DRR|GSM|CPTAC|HCM|C3[LN]|ACH|SAMN|SAMEA)[-._]?\w+.*", re.I
)
_THOUSANDS = re.compile(r"-?\d{1,3}([,' \u00a0\u202f]\d{3})+(\.\d+)?|-?\d{1,3}(\.\d{3}){2,}(,\d+)?")
_WHOLE = re.compile(r"[0-9]{1,18}")
_SPOILED = re.compile(r"#(DIV/0!|VALUE!|REF!|NAME\?|NUM!|NULL!)")
_HALF = 0.5


def plain(name: str) -> str:
    """Strip a column name of case, blanks, dashes and a leading '#'."""
    return re.sub(r"[\s\-.]+", "_", name.strip().lstrip("#").lower())


def to_number(cell: str, *, decimal: str = ".") -> float | None:
    """Read a cell as a number; None if it is none."""
    try:
        return float(cell.replace(decimal, ".") if decimal != "." else cell)
    except ValueError:
        return None


def is_whole(cell: str) -> bool:
    """Whether a cell is a whole number in ASCII digits, and one that fits 64 bits."""
    return _WHOLE.fullmatch(cell) is not None


def is_text(column: Iterable[str], decimal: str) -> bool:
    """Whether most of the cells that are not missing are no numbers."""
    cells = [c for c in column if c not in MISSING]
    return sum(to_number(c, decimal=decimal) is None for c in cells) > _HALF * len(cells)


def is_sequence(cells: Sequence[str]) -> bool:
    """Whether the cells are row numbers: consecutive whole numbers, two or more."""
    if len(cells) < 2 or not all(map(is_whole, cells)):
        return False
    start = int(cells[0])
    return start in (0, 1) and [int(c) for c in cells] == list(range(start, start + len(cells)))


def spreadsheet_error(column: Iterable[str]) -> str | None:
    """Return the first cell that is a spreadsheet's error, such as ``#DIV/0!``, else None."""
    return next((c for c in column if _SPOILED.fullmatch(c)), None)


def has_thousands(column: Iterable[str]) -> str | None:
    """Return a cell such as ``1,234.5`` if a column of texts is made of them, else None."""
    cells = [c for c in column if c not in MISSING]
    grouped = [c for c in cells if _THOUSANDS.fullmatch(c)]
    return grouped[0] if grouped and len(grouped) > _HALF * len(cells) else None


def gene_like(name: str) -> bool:
    """Whether a name is a gene's; a number alone says nothing, and capitals are not asked for.

    Aliases do not count: short ones (``S1``, ``OS``) are the names of samples and columns as well.
    """
    if not name or is_whole(name):
        return False
    if GENE_ID.fullmatch(name):
        return True
    symbols = lookup("symbol")
    found = (symbols.one(name), symbols.one(fold(name)))
    return any(one.known and HOW[one.how] != "alias" for one in found)


def id_share(cells: Sequence[str], pattern: re.Pattern[str] = GENE_ID) -> float:
    """Share of the cells that match, 0 to 1."""
    return sum(pattern.fullmatch(c) is not None for c in cells) / max(len(cells), 1)


def gene_share(cells: Sequence[str]) -> float:
    """Share of the cells that are names of genes, 0 to 1."""
    return sum(map(gene_like, cells)) / max(len(cells), 1)


def entrez_share(cells: Sequence[str]) -> float:
    """Share of the cells that are Entrez ids of human genes; 0 for row numbers."""
    if is_sequence(cells) or len(set(cells)) < len(cells):
        return 0.0
    known = lookup("entrez").row
    return sum(c in known for c in cells) / max(len(cells), 1)


def shown(cells: Sequence[str]) -> str:
    """The first few cells for a message."""
    more = ", …" if len(cells) > 4 else ""
    return ", ".join(repr(c) for c in cells[:4]) + more
