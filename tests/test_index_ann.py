"""A table above the limit of exact search: the approximate index, filters, and rows that come."""

import numpy as np
import pytest
from index_support import DIMENSIONS, SHA256, add, moments, open_index, rows_of, unit

from specformer_index import vectors
from specformer_index.ann import indexed_columns, unindexed_rows
from specformer_index.filters import Filters
from specformer_index.maintenance import check
from specformer_index.opening import open_table, read_info
from specformer_index.vectors import largest
from specformer_index.write import new_directory, write_tables

ROWS = 6000


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same rows twice: searched exactly, and on the disk with 46 partitions."""
    rng = np.random.default_rng(11)
    rows = [row for number in range(20) for row in rows_of(f"cohort{number}", ROWS // 20)]
    centres = unit(rng, 20)[np.repeat(np.arange(20), ROWS // 20)]
    points = centres + 0.5 * unit(rng, ROWS)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for row, number in zip(rows, rng.integers(0, 20, ROWS), strict=True):
        row["source"] = f"source{number}"
    roots = []
    patch = pytest.MonkeyPatch()
    for name in ("exact", "large"):
        root = tmp_path_factory.mktemp(name) / "index"
        with patch.context() as patched, new_directory(root) as partial:
            if name == "large":
                patched.setattr(vectors, "EXACT_ROWS", 1000)
                patched.setattr(vectors, "PARTITION_ROWS", 128)
            write_tables(
                partial,
                rows=rows,
                vectors=points,
                pathways=moments(rng, rows[:2]),
                release_id="test",
                release_sha256=SHA256,
            )
        roots.append(root)
    return roots


@pytest.fixture
def large(monkeypatch):
    for name, value in (("EXACT_ROWS", 1000), ("PARTITION_ROWS", 128), ("FEW_ROWS", 100)):
        monkeypatch.setattr(vectors, name, value)


FILTERS = [
    Filters(),
    Filters(source="source3"),
    Filters(study="cohort7"),
    Filters(exclude_patient="cohort4-3"),
    Filters(source="source3", study="cohort7"),
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.usefixtures("large")
def test_recall_under_filters(both, filters):
    index = open_index(both[1])
    assert isinstance(index._vectors, vectors.OnDisk)
    rng = np.random.default_rng(4)
    matrix = index._vectors.rows(np.arange(ROWS))
    mask = index._members.mask(filters)
    found = total = 0
    for query in unit(rng, 20):
        truth = largest(matrix @ query, 50, mask=mask)
        ids = {index._members.label(int(row))["id"] for row in truth}
        near = index.nearest_profiles(query, k=50, filters=filters)
        assert [n.similarity for n in near] == sorted((n.similarity for n in near), reverse=True)
        found += len(ids & {n.id for n in near})
        total += len(ids)
    assert found / total >= 0.99


@pytest.mark.usefixtures("large")
def test_cohorts_are_exact_from_the_disk(both, monkeypatch):
    query = unit(np.random.default_rng(5), 1)[0]
    on_disk = open_index(both[1])
    found = on_disk.nearest_cohorts(query, k=5)
    similarities = on_disk.cohort_similarities(query)
    monkeypatch.setattr(vectors, "EXACT_ROWS", 100_000)
    exact = open_index(both[0])
    expected = exact.nearest_cohorts(query, k=5)
    assert [m.cohort for m in found.cohorts] == [m.cohort for m in expected.cohorts]
    for one, other in zip(found.cohorts, expected.cohorts, strict=True):
        assert one.similarity == pytest.approx(other.similarity, abs=1e-5)
        assert one.percentile == pytest.approx(other.percentile, abs=0.5)
        assert one.support == other.support
    assert similarities == pytest.approx(exact.cohort_similarities(query), abs=1e-5)


@pytest.mark.usefixtures("large")
def test_rows_of_any_order_come_back_in_that_order(both):
    index = open_index(both[1])
    rows = np.array([5, 4000, 17, 3999, 0])
    one_by_one = [index._vectors.rows(np.array([row]))[0] for row in rows]
    np.testing.assert_array_equal(index._vectors.rows(rows), one_by_one)


@pytest.mark.usefixtures("large")
def test_added_rows_are_in_the_index_at_once(both):
    info = add(both[1], "mine", n=400)
    table = open_table(info)
    assert unindexed_rows(table) == 0
    assert indexed_columns(table) >= {"vector", "kind", "study", "source"}
    assert check(info) == []
    index = open_index(both[1])
    near = index.nearest_profiles(np.eye(DIMENSIONS)[0], k=50, filters=Filters(study="mine"))
    assert {n.cohort for n in near} == {"mine"}
    assert read_info(both[1]).counts["profiles"] == ROWS + 400
