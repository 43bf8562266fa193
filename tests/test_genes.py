"""Gene identifiers of every kind, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from specformer_encoder.errors import GeneIdentifierError
from specformer_encoder.genes import MINIMUM_GENES, map_genes, vocabulary

FILLER = vocabulary().ensembl_ids[:MINIMUM_GENES]


def place(name: str) -> str | None:
    """Symbol that one identifier resolves to, beside enough others to be accepted."""
    position = map_genes([name, *FILLER]).index[0]
    return vocabulary().symbols[position] if position >= 0 else None


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("ENSG00000141510", "TP53"),
        ("ENSG00000141510.18", "TP53"),
        ("TP53", "TP53"),
        ("p53", "TP53"),
        ("7157", "TP53"),
        ("TP53|7157", "TP53"),
        ("?|7157", "TP53"),
        ("7157|TP53", "TP53"),
        ("ENSG00000141510.18|TP53|protein_coding", "TP53"),
        ("MLL2", "KMT2D"),
        (" EGFR ", "EGFR"),
    ],
)
def test_identifiers_find_their_gene(name, symbol):
    assert place(name) == symbol


def test_vocabulary_is_protein_coding_and_unique():
    genes = vocabulary()
    assert 19_000 < len(genes) < 19_500
    assert len(set(genes.ensembl_ids)) == len(genes)
    assert genes.ensembl_ids == sorted(genes.ensembl_ids)
    assert (genes.lengths > 0).all()


def test_report_counts_every_row_once_and_names_examples():
    names = ["MLL2", "ENSG00000228630", "NOT_A_GENE", "EGFR", "ENSG00000146648"]
    mapping = map_genes([*names, *FILLER], "f.tsv")
    report = mapping.report
    assert report.rows == len(names) + len(FILLER)
    left_out = report.ambiguous + report.unknown + report.outside_vocabulary
    assert report.exact + report.renamed + left_out == report.rows
    assert report.examples["renamed"] == ["MLL2"]
    assert report.examples["unknown"] == ["NOT_A_GENE"]
    assert report.examples["outside_vocabulary"] == ["ENSG00000228630"]  # HOTAIR, a lncRNA
    assert {"EGFR", "ENSG00000146648"} <= set(report.examples["merged"])
    assert report.merged == 2
    assert (mapping.index >= 0).sum() == report.exact + report.renamed


def test_current_symbol_beats_the_previous_symbol_of_another_gene():
    table = vocabulary()
    positions = map_genes(table.symbols).index
    assert np.array_equal(positions, np.arange(len(table)))


def test_repeated_ids_are_refused_and_a_few_shared_symbols_are_summed():
    with pytest.raises(GeneIdentifierError, match=r"2 genes in more than one row \(ENSG0"):
        map_genes([*FILLER, *FILLER[:2]], "f.tsv")
    symbols = vocabulary().symbols[:1000]
    with pytest.raises(GeneIdentifierError, match="1000 genes in more than one row"):
        map_genes([*symbols, *symbols], "stacked.tsv")
    assert map_genes([*symbols, *symbols[:5]]).report.merged == 10


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([f"ENSMUSG{i:011d}" for i in range(1000)], "mouse Ensembl ids"),
        ([f"ENST{i:011d}.3" for i in range(1000)], "transcript ids"),
        ([f"NM_{i:06d}" for i in range(1000)], "RefSeq"),
        ([s.capitalize() for s in vocabulary().symbols[:3000]], "looks like mouse"),
        ([s.lower() for s in vocabulary().symbols[:3000]], "small letters"),
        ([f"probe_{i}" for i in range(1000)], "1000 of 1000 identifiers are unknown"),
        (FILLER[:120], f"120 protein-coding genes that SpecFormer knows; at least {MINIMUM_GENES}"),
    ],
)
def test_what_cannot_be_resolved_is_refused_with_the_reason(names, said):
    with pytest.raises(GeneIdentifierError, match=said):
        map_genes(names, "f.tsv")
