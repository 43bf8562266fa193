"""Cohorts come and go in whole versions; a version can be opened again, examined, exported."""

import json
import re

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
from index_support import EACH, MINE, SHA256, add, build, moments, open_index, rows_of, unit

from specformer_index.changes import add_cohorts, remove_cohort
from specformer_index.cohorts import CohortPathwayMoments
from specformer_index.errors import ReferenceIndexError
from specformer_index.filters import Filters
from specformer_index.maintenance import check, export, optimize
from specformer_index.opening import BUNDLED, list_versions, read_info
from specformer_index.write import as_table


@pytest.fixture
def root(tmp_path):
    build(tmp_path / "index")
    return tmp_path / "index"


def test_an_added_cohort_takes_part_like_any_other(root):
    rng = np.random.default_rng(3)
    rows, vectors = rows_of("mine", EACH, MINE), unit(rng, EACH)
    scores = moments(rng, rows)
    before = read_info(root)
    info = add_cohorts(root, rows=rows, vectors=vectors, pathways=scores, source=MINE)
    assert info == read_info(root)
    assert info.version == "test+132.1"
    assert info.counts["profiles"] == info.counts["rows"] == 132
    assert (info.counts["cohorts"], info.counts["patients"]) == (3, 66)
    assert check(info) == []
    index = open_index(root)
    assert index.nearest_profiles(vectors[3], k=1)[0].id == rows[3]["id"]
    assert index.values_of("source") == ["reference", MINE]
    only = index.nearest_cohorts(vectors[3], k=5, filters=Filters(source=MINE))
    assert [match.cohort for match in only.cohorts] == ["mine"]
    assert only.cohorts[0].n_patients == EACH // 2
    told = {row.id: row for row in index.cohort_rows()}
    assert told["mine"].name == "Mine"
    assert told["mine"].subtypes == {"A": EACH // 2}
    expected = scores.table().to_pylist()
    stats = index.cohort_pathways("mine")
    for row in expected:
        assert stats.mean[stats.gene_sets[row["gene_set"]]] == pytest.approx(row["mean"])
        assert stats.n[stats.gene_sets[row["gene_set"]]] == EACH
    # The cohorts of before score as before.
    old = open_index(root, version=before.version)
    for cohort in ("one", "two"):
        np.testing.assert_array_equal(
            old.cohort_pathways(cohort).mean, index.cohort_pathways(cohort).mean
        )


def test_an_answer_can_be_pinned_to_a_version(root):
    query = np.eye(16)[2]
    first = read_info(root).version
    before = open_index(root).nearest_profiles(query, k=50)
    add(root, "mine")
    remove_cohort(root, "one")
    assert open_index(root, version=first).nearest_profiles(query, k=50) == before
    assert open_index(root).nearest_profiles(query, k=50) != before
    assert [info.version for info in list_versions(root)] == ["test+120", "test+132.1", "test+72.2"]
    with pytest.raises(
        ReferenceIndexError, match=r"no version 'test\+9'; it is now at test\+72\.2"
    ):
        open_index(root, version="test+9")
    with pytest.raises(ReferenceIndexError, match="cannot be compared"):
        type(open_index(root)).open(root, release_sha256="b" * 64, version=first)


def test_what_was_opened_stays_as_it_was(root):
    index = open_index(root)
    add(root, "mine")
    optimize(root, keep=1)
    assert len(index.nearest_profiles(np.eye(16)[2], k=500)) == 120


def test_a_cohort_is_replaced_only_on_demand_and_as_a_whole(root):
    add(root, "mine")
    with pytest.raises(ReferenceIndexError, match="Give --replace"):
        add(root, "mine", n=6)
    info = add(root, "mine", n=6, replace=True)
    assert info.counts["profiles"] == 126
    assert check(info) == []


def test_a_cohort_of_the_reference_or_of_another_data_set_is_never_replaced(root):
    add(root, "mine")
    for cohort, source in (("one", MINE), ("mine", "user:other")):
        with pytest.raises(ReferenceIndexError, match="already, from"):
            add(root, cohort, source=source, replace=True)
    assert read_info(root).revision == 1


def test_vectors_of_another_size_are_refused(root):
    rows = rows_of("mine", 4, MINE)
    vectors = np.eye(4, 8, dtype=np.float32)
    with pytest.raises(ReferenceIndexError, match="have 8 numbers; those of the index have 16"):
        add_cohorts(
            root, rows=rows, vectors=vectors, pathways=CohortPathwayMoments([], []), source=MINE
        )


def test_the_bundled_index_is_never_changed():
    for change in (
        lambda: remove_cohort(BUNDLED, "TCGA-UVM tumor"),
        lambda: optimize(BUNDLED),
        lambda: add(BUNDLED, "mine"),
    ):
        with pytest.raises(ReferenceIndexError, match="bundled index is never changed"):
            change()


def test_remove(root):
    info = remove_cohort(root, "one")
    assert info.counts["cohorts"] == 1
    assert check(info) == []
    with pytest.raises(ReferenceIndexError, match="no cohort 'one'; it has two"):
        remove_cohort(root, "one")
    with pytest.raises(ReferenceIndexError, match="last cohort"):
        remove_cohort(root, "two")
    assert check(read_info(root)) == []
    assert add(root, "mine").counts["cohorts"] == 2  # what the refused removal wrote is undone


def test_optimize_merges_files_and_drops_versions(root):
    for number in range(4):
        add(root, f"mine{number}")
    remove_cohort(root, "mine2")
    query = np.eye(16)[2]
    before = open_index(root).nearest_profiles(query, k=200)
    done = optimize(root)
    assert done.dropped == []
    assert len(list_versions(root)) == 7
    assert all(check(info) == [] for info in list_versions(root))
    assert len([name for name in done.info.files if "/data/" in name]) == 1
    again = optimize(root, keep=2)
    assert again.info == done.info  # nothing was left to merge
    assert len(again.dropped) == 5
    assert again.files > 0
    assert [check(info) for info in list_versions(root)] == [[], []]
    assert open_index(root).nearest_profiles(query, k=200) == before
    with pytest.raises(ReferenceIndexError, match="Keep at least 1"):
        optimize(root, keep=0)


def test_optimize_leaves_other_files_alone(root):
    for name in ("notes.txt", "mine.parquet"):
        (root / name).write_text("kept")
    add(root, "mine")
    optimize(root, keep=1)
    assert {(root / name).read_text() for name in ("notes.txt", "mine.parquet")} == {"kept"}


def test_export_holds_every_row(root, tmp_path):
    info = add(root, "mine")
    out = tmp_path / "all.parquet"
    assert export(info, out) == 132
    table = pq.read_table(out)
    assert table.schema.metadata[b"specformer.index"] == info.version.encode()
    assert table.schema.metadata[b"specformer.release_sha256"] == SHA256.encode()
    index = open_index(root)
    row = table.filter(pa.compute.equal(table["id"], f"{MINE}:mine:0#tpm")).to_pylist()[0]
    assert index.nearest_profiles(row["vector"], k=1)[0].id == row["id"]
    with pytest.raises(ReferenceIndexError, match="could not be written"):
        export(info, tmp_path / "nowhere" / "all.parquet")


def spoil(root, rows, vectors):
    """Write rows past all checks and let index.json name the result."""
    table = lancedb.connect(str(root)).open_table("profiles")
    table.add(pa.table(rows.set_column(rows.num_columns - 1, rows.schema.field("vector"), vectors)))
    meta = json.loads((root / "index.json").read_text())
    meta["table_version"] = int(table.version)
    meta["counts"] |= {"rows": table.count_rows(), "profiles": table.count_rows()}
    (root / "index.json").write_text(json.dumps(meta))


@pytest.mark.parametrize(
    ("value", "said"),
    [(np.inf, "2 vectors are not finite"), (0.5, "2 vectors are not .* unit length")],
)
def test_check_finds_what_is_wrong_with_rows(root, value, said):
    rows = rows_of("one", 2)
    table = as_table(rows, unit(np.random.default_rng(0), 2))
    bad = pa.FixedSizeListArray.from_arrays(pa.array(np.full(32, value, np.float32)), 16)
    spoil(root, table, bad)
    found = " ".join(check(read_info(root)))
    assert "2 ids occur more than once, such as 'reference:one:0#tpm'" in found
    assert "The cohort table does not agree with the rows." in found
    assert re.search(said, found)


def test_check_finds_damaged_files(root):
    info = read_info(root)
    data = next(name for name in info.files if "/data/" in name)
    content = bytearray((root / data).read_bytes())
    content[len(content) // 2] ^= 1
    (root / data).write_bytes(content)
    (root / info.cohorts).unlink()
    found = check(info)
    assert f"{data} is missing or differs from what was recorded." in found
    assert f"{info.cohorts} is missing or differs from what was recorded." in found
