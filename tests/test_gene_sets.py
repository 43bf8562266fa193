"""The bundled gene sets: known members of known pathways, and the rules they are built by."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from specformer_encoder import gene_sets
from specformer_encoder.errors import ReleaseError
from specformer_encoder.gene_sets import GeneSets
from specformer_encoder.genes import vocabulary


@pytest.fixture(scope="module")
def bundled():
    return GeneSets.load()


def symbols_of(sets, name):
    return {vocabulary().symbols[gene] for gene in sets.members(name)}


def test_three_collections_are_bundled_under_open_licences(bundled):
    counts = {name: bundled.collections.count(name) for name in sorted(set(bundled.collections))}
    assert counts["hallmark"] == 50
    assert counts["reactome"] > 1500
    assert counts["wikipathways"] > 650
    assert set(counts) == {"hallmark", "reactome", "wikipathways"}
    metadata = {
        key.decode(): value.decode()
        for key, value in pq.read_schema(gene_sets.BUNDLED).metadata.items()
    }
    assert "CC BY 4.0" in metadata["hallmark"]
    assert "CC BY 4.0" in metadata["reactome"]
    assert "CC0" in metadata["wikipathways"]
    assert all("==" in metadata[name] for name in counts), "every origin is pinned"


def test_the_file_is_small():
    assert gene_sets.BUNDLED.stat().st_size < 1_500_000


def test_names_are_unique_and_addresses_are_given(bundled):
    assert len(set(bundled.names)) == len(bundled) == len(bundled.urls)
    assert all(url.startswith("http") for url in bundled.urls)


def test_every_set_has_5_to_500_different_genes(bundled):
    assert bundled.sizes.min() >= 5
    assert bundled.sizes.max() <= 500
    for name in bundled.names:
        members = bundled.members(name)
        assert (np.diff(members) > 0).all(), f"{name}: members are not ascending and different"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HALLMARK_HYPOXIA", {"VEGFA", "SLC2A1", "LDHA"}),
        ("HALLMARK_ESTROGEN_RESPONSE_EARLY", {"GREB1", "PGR", "TFF1"}),
        ("HALLMARK_G2M_CHECKPOINT", {"AURKA", "PLK1", "CDK1", "MKI67"}),
        ("REACTOME_SIGNALING_BY_EGFR", {"EGFR", "GRB2", "SOS1"}),
        ("WP4159 GABA receptor signaling", {"GABRA1", "GAD1", "GAD2"}),
    ],
)
def test_known_members(bundled, name, expected):
    assert expected <= symbols_of(bundled, name)


def test_hallmark_loses_hardly_a_gene_to_outdated_symbols():
    rows = pq.read_table(gene_sets.BUNDLED).to_pylist()
    hallmark = [row for row in rows if row["collection"] == "hallmark"]
    kept = sum(len(row["ensembl_ids"]) for row in hallmark)
    assert kept >= 0.995 * sum(row["source_genes"] for row in hallmark)


def test_an_unknown_name_is_a_key_error(bundled):
    with pytest.raises(KeyError, match="HALLMARK_NOTHING"):
        bundled.members("HALLMARK_NOTHING")


def test_a_file_of_another_vocabulary_is_refused(tmp_path, monkeypatch):
    table = pq.read_table(gene_sets.BUNDLED).slice(0, 3)
    column = table.column_names.index("ensembl_ids")
    foreign = [["ENSG99999999999", *members[1:]] for members in table["ensembl_ids"].to_pylist()]
    table = table.set_column(column, "ensembl_ids", [foreign])
    path = tmp_path / "gene_sets.parquet"
    pq.write_table(table, path)
    monkeypatch.setattr(gene_sets, "BUNDLED", path)
    with pytest.raises(ReleaseError, match="3 genes that are not in the vocabulary"):
        gene_sets._load.__wrapped__()


@pytest.mark.parametrize(
    ("names", "members", "message"),
    [
        (["a", "a"], [[0], [1]], "not unique"),
        (["a"], [[]], "empty"),
        (["a"], [[10]], "outside"),
        (["a"], [[-1]], "outside"),
        (["a", "b"], [[0]], "differ in length"),
    ],
)
def test_impossible_sets_are_refused(names, members, message):
    with pytest.raises(ValueError, match=message):
        GeneSets.from_members(names, members, vocabulary_size=10)


def test_from_members_sorts_and_counts_once():
    sets = GeneSets.from_members(["a", "b"], [[7, 2, 7], [3]], vocabulary_size=10)
    assert sets.members("a").tolist() == [2, 7]
    assert sets.sizes.tolist() == [2, 1]
    assert sets.collections == ["custom", "custom"]
