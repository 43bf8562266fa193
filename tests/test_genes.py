"""Gene identifiers of every kind, and what is refused."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from specformer_encoder.errors import GeneIdentifierError
from specformer_encoder.genes import MINIMUM_GENES, map_genes, vocabulary
from specformer_encoder.genes.rows import resolve
from specformer_encoder.genes.table import AMBIGUOUS, OUTSIDE, UNKNOWN

FILLER = vocabulary().ensembl_ids[:MINIMUM_GENES]
LEFT_OUT = {OUTSIDE: "outside", AMBIGUOUS: "ambiguous", UNKNOWN: "unknown"}


def places(*names: str) -> list[str]:
    """Symbol that each name of one file resolves to, or why it is left out."""
    symbols = vocabulary().symbols
    return [symbols[gene] if gene >= 0 else LEFT_OUT[gene] for gene in resolve(names).gene.tolist()]


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("ENSG00000141510", "TP53"),
        ("ENSG00000141510.18", "TP53"),
        ("ensg00000141510.18", "TP53"),
        ("ENSG00000182378.15_PAR_Y", "PLCXD1"),
        ("ENSGR0000182378.10", "PLCXD1"),  # the same, as GENCODE wrote it before release 25
        ("ENSG00000292344.1", "PLCXD1"),  # the same, as Ensembl has it since release 110
        ("ENSG00000006074", "CCL18"),  # retired for ENSG00000275385
        ("ENSG00000276387", "outside"),  # KIR2DS1 on a haplotype, not KIR2DL1
        ("TP53", "TP53"),
        ("p53", "TP53"),
        ("7157", "TP53"),
        ("7157.0", "TP53"),  # a column of numbers with a gap
        ("10431", "TIMM23B"),  # retired for 100652748
        ("106480432", "outside"),  # HM13-IT1, which NCBI counts to HM13 and HGNC does not
        ("LOC7157", "TP53"),
        ("TP53|7157", "TP53"),
        ("?|7157", "TP53"),
        ("7157|TP53", "TP53"),
        ("TP53|0", "TP53"),
        ("TP53 (7157)", "TP53"),
        ("TP53 (ENSG00000141510)", "TP53"),
        ("ENSG00000141510.18|TP53|protein_coding", "TP53"),
        ("ENSG00000141510_TP53", "TP53"),
        ("TP53_ENSG00000141510.18", "TP53"),
        ("ENSG00000999999|TP53", "TP53"),  # the id is not known, the symbol is
        ("ENSG00000141510;ENSG00000146648", "unknown"),  # two genes
        ("MLL2", "KMT2D"),
        ("MARCH1", "MARCHF1"),
        ("MARC1", "MTARC1"),
        ("SEPT2", "SEPTIN2"),
        ("SF3B14", "SF3B6"),  # a synonym that NCBI has and HGNC has not
        ("A1S9T", "UBA1"),  # withdrawn in favour of it
        (" EGFR ", "EGFR"),
        ('"EGFR"', "EGFR"),
        ("C1orf112", "FIRRM"),
        ("C1ORF112", "FIRRM"),
        ("HLA.DRB1", "HLA-DRB1"),
        ("NKX2_5", "NKX2-5"),
        ("QARS", "ambiguous"),  # QARS1 and EPRS1 both had it
        ("OCT1", "ambiguous"),  # an alias of two genes
        ("Egfr", "unknown"),  # a mouse gene
        ("GSTT1", "outside"),  # on no primary chromosome
        ("TP53.1", "unknown"),  # a copy of nothing
        ("", "unknown"),
        ("?", "unknown"),
        ("NOT_A_GENE", "unknown"),
    ],
)
def test_identifiers_find_their_gene(name, symbol):
    assert places(name) == [symbol]


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("2-Sep", "SEPTIN2"),
        ("02-Sep", "SEPTIN2"),
        ("Sep-02", "SEPTIN2"),
        ("Sep 2", "SEPTIN2"),
        ("02. Sep", "SEPTIN2"),
        ("2-Sep-23", "SEPTIN2"),
        ("15-Sep", "SELENOF"),
        ("3-Mar", "MARCHF3"),
        ("3. Mrz", "MARCHF3"),
        ("March 3, 2023", "MARCHF3"),
        ("2023-03-03", "MARCHF3"),
        ("2023-09-11 00:00:00", "SEPTIN11"),
        ("09/11/2023", "SEPTIN11"),  # 9 November is no gene
        ("03/09/2023", "ambiguous"),  # MARCHF9 or SEPTIN3
        ("1-Mar", "ambiguous"),  # MARCHF1 or MTARC1
        ("2-Mar", "ambiguous"),
        ("1-Dec", "outside"),  # DELEC1, a long non-coding RNA
        ("30-Jun", "unknown"),
    ],
)
def test_dates_of_a_spreadsheet_are_turned_back(text, symbol):
    assert places(text) == [symbol]


def test_dates_are_reported_as_repaired_and_never_summed():
    report = map_genes(["2-Sep", "3-Sep", "1-Mar", "1-Mar", "5-Sep", "5-Sep", *FILLER]).report
    assert report.repaired == 2
    assert report.examples["repaired"] == ["2-Sep → SEPTIN2", "3-Sep → SEPTIN3"]
    assert report.ambiguous == 4
    assert report.examples["ambiguous"][0] == "1-Mar (MARCHF1, MTARC1)"
    assert report.merged == 0
    assert places("2-Sep", "SEPTIN2") == ["ambiguous", "SEPTIN2"]


def test_the_other_gene_of_a_date_settles_it():
    assert places("1-Mar", "MTARC1") == ["MARCHF1", "MTARC1"]
    assert places("1-Mar", "1-Mar", "MTARC1") == ["ambiguous", "ambiguous", "MTARC1"]


def test_serial_numbers_are_dates_only_among_symbols_and_all_together():
    symbols = vocabulary().symbols[:100]
    serials = ["44258", "44441", "44454"]  # 3 March, 2 September and 15 September 2021
    assert places(*serials, *symbols)[:3] == ["MARCHF3", "SEPTIN2", "SELENOF"]
    assert places(*serials, "7157", *symbols)[3] == "TP53"
    assert places(*serials, "7157", *symbols)[:3] == places(*serials)
    assert "SEPTIN2" not in places(*serials)


def test_a_previous_symbol_is_summed_and_an_alias_is_not():
    assert places("MIA2", "CTAGE5") == ["MIA2", "MIA2"]  # one gene since 2018
    assert places("TP53", "p53") == ["TP53", "ambiguous"]
    assert places("SBP1", "MEGF8") == ["ambiguous", "MEGF8"]  # often SELENBP1
    assert places("HLA-A", "HLA.A") == ["HLA-A", "ambiguous"]


def test_a_name_of_two_genes_is_the_one_without_a_row():
    assert places("QARS", "EPRS") == ["QARS1", "EPRS1"]
    assert places("QARS", "EPRS1", "QARS1") == ["ambiguous", "EPRS1", "QARS1"]
    assert places("QARS", "QARS", "EPRS1") == ["ambiguous", "ambiguous", "EPRS1"]


def test_a_symbol_that_has_moved_is_not_believed_in_an_old_file():
    # BRF1 was ZFP36L1 while what is now BRF1 was GTF3B.
    assert places("BRF1", "GTF3B") == ["ambiguous", "BRF1"]
    assert places("BRF1", "ZFP36L1") == ["BRF1", "ZFP36L1"]
    assert places("BRF1", "GTF3B", "ZFP36L1") == ["BRF1", "BRF1", "ZFP36L1"]


def test_suffixes_of_repeated_symbols_are_read_and_summed():
    mapping = map_genes(["TP53", "TP53.1", "EGFR", "EGFR-1", *FILLER])
    assert mapping.index[0] == mapping.index[1]
    assert mapping.index[2] == mapping.index[3]
    assert mapping.report.examples["merged"][0] == "TP53 + TP53.1 → TP53"
    assert "TP53.1 → TP53" in mapping.report.examples["renamed"]
    assert places("NKX2.1") == ["NKX2-1"]


def test_the_half_of_a_pair_that_tells_rows_apart_decides():
    # A pipeline that looks numbers up by sequence gives ACTB's to ACTG1.
    assert places("ACTB|60", "ACTG1|60", "TP53|7157") == ["ACTB", "ACTG1", "TP53"]
    # A symbol that stands for two loci does not.
    assert places("SLC35E2|728661", "SLC35E2|9906") == ["SLC35E2B", "outside"]
    assert places("BRF1|677") == ["ZFP36L1"]  # which had the symbol
    assert places("EGFR|7157") == ["ambiguous"]
    # NCBI dropped 23574, and what PRG1 meant then is not SRGN, which has a row.
    assert places("PRG1|23574", "SRGN|5552") == ["ambiguous", "SRGN"]


def test_real_pairs_agree_with_either_half(shared_corpus):
    column = "symbol|entrez"
    path = shared_corpus / "expression" / "firehose.rsem_normalized.parquet"
    names = pq.ParquetFile(path).read(columns=[column])[column].to_pylist()
    both = resolve(names).gene
    symbol, number = (resolve([name.split("|")[half] for name in names]).gene for half in (0, 1))
    comparable = (both >= 0) & (symbol >= 0) & (number >= 0)
    assert comparable.sum() > 18_400
    odd = np.flatnonzero(comparable & ((both != symbol) | (both != number)))
    # Each of these symbols has changed hands; the number has not.
    assert {names[row] for row in odd} == {"DEFB103B|414325", "NAA38|51691", "POTEB|339010"}
    assert (both[odd] == number[odd]).all()
    assert (both == UNKNOWN).mean() < 0.005


def test_vocabulary_is_protein_coding_and_unique():
    genes = vocabulary()
    assert 19_000 < len(genes) < 19_500
    assert len(set(genes.ensembl_ids)) == len(genes)
    assert genes.ensembl_ids == sorted(genes.ensembl_ids)
    assert (genes.lengths > 0).all()


def test_report_counts_every_row_once_and_names_examples():
    names = ["MLL2", "ENSG00000228630", "NOT_A_GENE", "EGFR", "ENSG00000146648", "3-Mar", "QARS"]
    mapping = map_genes([*names, *FILLER], "f.tsv")
    report = mapping.report
    assert report.rows == len(names) + len(FILLER)
    left_out = report.ambiguous + report.unknown + report.outside_vocabulary
    assert report.exact + report.renamed + report.repaired + left_out == report.rows
    assert report.examples["renamed"] == ["MLL2 → KMT2D"]
    assert report.examples["repaired"] == ["3-Mar → MARCHF3"]
    assert report.examples["unknown"] == ["NOT_A_GENE"]
    assert report.examples["outside_vocabulary"] == ["ENSG00000228630"]  # HOTAIR, a lncRNA
    assert report.examples["ambiguous"] == ["QARS (EPRS1, QARS1)"]
    assert report.examples["merged"] == ["EGFR + ENSG00000146648 → EGFR"]
    assert report.merged == 2
    assert (mapping.index >= 0).sum() == report.exact + report.renamed + report.repaired
    assert report.missing == len(vocabulary()) - report.measured
    absent = report.examples["missing"]
    assert not {vocabulary().symbols.index(symbol) for symbol in absent} & set(mapping.index)


def test_sentences_tell_a_person_what_became_of_the_rows():
    report = map_genes(["MLL2", "NOT_A_GENE", "EGFR", "7157", *FILLER], "f.tsv").report
    assert report.kind == "ensembl"
    assert report.mixed
    assert report.kinds == {"ensembl": 500, "symbol": 2, "entrez": 1}
    first, *others = report.sentences()
    assert first.startswith("504 rows of mixed identifiers, mostly Ensembl ids, with 2 gene symb")
    assert "503 of 19,195 vocabulary genes" in first
    assert any(line.endswith("another spelling: MLL2 → KMT2D.") for line in others)
    assert any("no current human gene" in line and "NOT_A_GENE." in line for line in others)
    assert others[-1].startswith("18,692 genes of the vocabulary are not in the file: ")
    assert others[-1].endswith(" and more.")
    assert len(others) == 3
    assert not map_genes(vocabulary().symbols).report.mixed


def test_current_names_all_lead_to_their_gene():
    table = vocabulary()
    for names in (table.symbols, table.ensembl_ids, [f"{x}.7" for x in table.ensembl_ids]):
        assert np.array_equal(map_genes(names).index, np.arange(len(table)))


def test_symbols_in_capitals_lead_to_the_same_gene():
    table = vocabulary()
    upper = map_genes([symbol.upper() for symbol in table.symbols])
    assert any(symbol != symbol.upper() for symbol in table.symbols)
    assert np.array_equal(upper.index, np.arange(len(table)))


def test_a_few_repeats_are_summed_and_a_file_of_repeats_is_refused():
    symbols, ids = vocabulary().symbols[:1000], vocabulary().ensembl_ids[:1000]
    for names in (symbols, ids, [f"{name}|x" for name in ids]):
        assert map_genes([*names, *names[:5]]).report.merged == 10
        with pytest.raises(GeneIdentifierError, match="1000 genes in more than one row"):
            map_genes([*names, *names], "stacked.tsv")
    with pytest.raises(GeneIdentifierError, match=r"11 genes in more than one row \(ENSG0"):
        map_genes([*ids, *ids[:11]], "f.tsv")


MOUSE = [symbol.capitalize() for symbol in vocabulary().symbols[:3000]]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([f"ENSMUSG{i:011d}.4" for i in range(1000)], "mouse Ensembl ids"),
        ([f"ENSRNOG{i:011d}" for i in range(1000)], "rat Ensembl ids"),
        ([f"ENSDARG{i:011d}" for i in range(1000)], "zebrafish Ensembl ids"),
        ([f"ENSBTAG{i:011d}" for i in range(1000)], "non-human ids"),
        ([f"ENST{i:011d}.3" for i in range(1000)], "Ensembl transcript ids.*sum the transcripts"),
        ([f"NM_{i:06d}.2" for i in range(1000)], "RefSeq transcript ids"),
        ([f"XR_{i:09d}.1" for i in range(1000)], "RefSeq transcript ids"),
        ([f"NP_{i:06d}.1" for i in range(1000)], "protein ids"),
        ([f"uc{i:03d}abc.1" for i in range(1000)], "UCSC transcript ids"),
        ([f"{1000 + i}_s_at" for i in range(1000)], "Affymetrix probe sets"),
        ([f"ILMN_{1650000 + i}" for i in range(1000)], "Illumina array probes"),
        ([f"cg{i:08d}" for i in range(1000)], "CpG sites"),
        ([f"P{i:05d}" for i in range(10000, 11000)], "UniProt accessions"),
        ([f"hsa-miR-{i}-5p" for i in range(1000)], "microRNAs"),
        ([f"HALLMARK_{i}" for i in range(50)], "pathways or gene sets"),
        ([f"TCGA-05-{i}-01A" for i in range(4000, 4600)], "samples.*wrong way round"),
        ([str(i) for i in range(20000)], "numbered 0 to 19999"),
        ([str(i) for i in range(1, 20001)], "numbered 1 to 20000"),
        (MOUSE, "looks like mouse"),
        ([*MOUSE, *vocabulary().symbols[4000:4900]], "looks like mouse"),
        ([symbol.lower() for symbol in vocabulary().symbols[:3000]], "small letters"),
        ([f"probe_{i}" for i in range(1000)], "1000 of 1000 identifiers are unknown"),
        (FILLER[:120], f"120 protein-coding genes that SpecFormer knows; at least {MINIMUM_GENES}"),
    ],
)
def test_what_cannot_be_resolved_is_refused_with_the_reason(names, said):
    with pytest.raises(GeneIdentifierError, match=said):
        map_genes(names, "f.tsv")


@pytest.mark.parametrize("name", ["²", "٣", "9" * 5000, "|", "()", "\x00", "ENSG", "1-", "LOC"])
def test_odd_names_are_unknown(name):
    report = map_genes([name, *FILLER]).report
    assert (report.unknown, report.exact) == (1, len(FILLER))


def test_a_file_without_names_is_refused():
    with pytest.raises(GeneIdentifierError, match="0 of 0 identifiers are unknown"):
        map_genes([], "f.tsv")


def test_mouse_genes_beside_human_ones_are_left_out():
    human = vocabulary().symbols
    mouse = [name for name in MOUSE if name not in set(human)]
    report = map_genes([*human, *mouse]).report
    assert (report.exact, report.renamed, report.merged) == (len(human), 0, 0)
    assert report.unknown > 2500
    # Some mouse symbols are aliases of human genes, which have rows here.
    assert report.unknown + report.ambiguous + report.outside_vocabulary == len(mouse)


def test_a_list_of_genes_that_was_seen_before_is_told_alike_of_each_file():
    names = ["MLL2", "NOT_A_GENE", *FILLER]
    first = map_genes(list(names), "a.tsv")
    first.index[:] = 0  # the caller's own
    second = map_genes(tuple(names), "b.tsv")
    assert second.report == first.report
    assert second.index[2:].tolist() == list(range(MINIMUM_GENES))
    for source in ("a.tsv", "b.tsv"):
        with pytest.raises(GeneIdentifierError, match=source):
            map_genes(["x", *FILLER[:3]], source)
