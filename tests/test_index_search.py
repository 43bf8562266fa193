"""The reference index on random unit vectors, against a naive loop over all rows."""

import json
import logging
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from specformer_encoder.errors import SpecformerError
from specformer_index.cohorts import CohortPathwayMoments
from specformer_index.filters import Filters
from specformer_index.opening import read_info, verify
from specformer_index.schema import MEDIAN, PROFILE
from specformer_index.search import ReferenceIndex
from specformer_index.write import write_tables

DIMENSIONS = 16
SETS = ["A", "B", "C"]


def unit(rng, n):
    """Return n unit vectors; none has anything of the last dimension."""
    vectors = rng.normal(size=(n, DIMENSIONS)).astype(np.float32)
    vectors[:, -1] = 0
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_rows():
    """Return 90 profiles of 4 cohorts (one of two patients only) and 3 medians."""
    rows = []
    for i in range(90):
        study = "TCGA-UVM" if i < 2 else ("TCGA-LUAD", "TCGA-COAD", "GTEX")[i % 3]
        kind = "normal" if study == "GTEX" else "tumor"
        rows.append(
            {
                "id": f"s:{i}#counts",
                "kind": PROFILE,
                "cohort": "GTEX-Lung" if study == "GTEX" else f"{study} {kind}",
                "cohort_name": study.lower(),
                "study": study,
                "tissue": "Lung" if study == "GTEX" else "",
                "sample_type": kind,
                # Every patient twice, except the GTEx ones, of whom nothing is known.
                "patient": "" if study == "GTEX" else f"P{study}-{i // 6}",
                "source": f"source{i % 2}",
                "unit": "counts",
                "split": "train",
                "subtype": "",
                "genes_measured": 18_000,
            }
        )
    for i in range(3):
        median = dict(rows[2 + i], id=f"m{i}", kind=MEDIAN, cohort=f"m{i} median", patient="")
        rows.append(median)
    return rows


@pytest.fixture
def built(tmp_path):
    rng = np.random.default_rng(7)
    rows = make_rows()
    vectors = unit(rng, len(rows))
    moments = CohortPathwayMoments(SETS, ["hallmark", "hallmark", "reactome"])
    scores = rng.normal(size=(len(rows), 3)).astype(np.float32)
    scores[5, 1] = np.nan
    for row, score in zip(rows, scores, strict=True):
        if row["kind"] == PROFILE:
            moments.add(row["cohort"], score)
    root = tmp_path / "index"
    root.mkdir()
    write_tables(
        root,
        rows=rows,
        vectors=vectors,
        pathways=moments,
        release_id="specformer-test",
        release_sha256="a" * 64,
    )
    return root, rows, vectors, scores


def naive_cohorts(rows, vectors, query, exclude=None):
    """Rank cohorts by loops: mean cosine of the nearest patients, one of every 20, at most 5."""
    best = defaultdict(dict)
    for row, vector in zip(rows, vectors, strict=True):
        if row["kind"] != PROFILE or (exclude and row["patient"] == exclude):
            continue
        person = row["patient"] or row["id"]
        cosine = float(np.dot(vector.astype(float), query.astype(float)))
        people = best[row["cohort"]]
        people[person] = max(people.get(person, -2.0), cosine)
    ranked = {
        cohort: float(
            np.mean(sorted(people.values(), reverse=True)[: min(5, math.ceil(len(people) / 20))])
        )
        for cohort, people in best.items()
        if len(people) >= 3
    }
    return sorted(ranked.items(), key=lambda item: -item[1])


def test_profiles_equal_a_naive_scan(built):
    root, rows, vectors, _ = built
    index = ReferenceIndex.open(root, release_sha256="a" * 64)
    query = unit(np.random.default_rng(1), 1)[0]
    found = index.nearest_profiles(query, k=20)
    real = [i for i, row in enumerate(rows) if row["kind"] == PROFILE]
    expected = sorted(real, key=lambda i: -float(vectors[i] @ query))[:20]
    assert [neighbor.id for neighbor in found] == [rows[i]["id"] for i in expected]
    cosines = [float(vectors[i] @ query) for i in expected]
    np.testing.assert_allclose([neighbor.similarity for neighbor in found], cosines, atol=1e-5)


@pytest.mark.parametrize("exclude", [None, "PTCGA-LUAD-3"])
def test_cohorts_equal_a_naive_loop(built, exclude):
    root, rows, vectors, _ = built
    index = ReferenceIndex.open(root, release_sha256="a" * 64)
    query = vectors[21]  # a TCGA-LUAD profile of patient PTCGA-LUAD-3
    ranking = index.nearest_cohorts(query, k=10, filters=Filters(exclude_patient=exclude))
    expected = naive_cohorts(rows, vectors, query, exclude)
    assert [match.cohort for match in ranking.cohorts] == [cohort for cohort, _ in expected]
    np.testing.assert_allclose(
        [match.similarity for match in ranking.cohorts], [s for _, s in expected], atol=1e-5
    )
    near = index.nearest_profiles(query, k=50, filters=Filters(exclude_patient=exclude))
    for match in ranking.cohorts + ranking.too_small:
        assert match.support == sum(neighbor.cohort == match.cohort for neighbor in near)
    assert all(match.cohort != "TCGA-UVM tumor" for match in ranking.cohorts)


def test_a_patient_can_be_left_out_everywhere(built):
    root, _, vectors, _ = built
    index = ReferenceIndex.open(root, release_sha256="a" * 64)
    patient = "PTCGA-LUAD-3"
    assert index.knows_patient(patient)
    assert index.nearest_profiles(vectors[21], k=1)[0].patient == patient
    near = index.nearest_profiles(vectors[21], k=90, filters=Filters(exclude_patient=patient))
    assert patient not in {neighbor.patient for neighbor in near}
    assert len(near) == 88  # unknown patients are not lost to the filter
    before = {m.cohort: m for m in index.nearest_cohorts(vectors[21], k=9).cohorts}
    after = index.nearest_cohorts(vectors[21], k=9, filters=Filters(exclude_patient=patient))
    match = next(m for m in after.cohorts if m.cohort == "TCGA-LUAD tumor")
    assert match.n_profiles == before["TCGA-LUAD tumor"].n_profiles - 2
    assert match.n_patients == before["TCGA-LUAD tumor"].n_patients - 1


def test_filters(built):
    root, rows, vectors, _ = built
    index = ReferenceIndex.open(root, release_sha256="a" * 64)
    normal = index.nearest_profiles(vectors[4], k=90, filters=Filters(sample_type="normal"))
    assert normal
    assert {neighbor.sample_type for neighbor in normal} == {"normal"}
    both = Filters(study="TCGA-COAD", source="source1", exclude_patient="PTCGA-COAD-2")
    found = index.nearest_profiles(vectors[4], k=90, filters=both)
    assert {neighbor.id for neighbor in found} == {
        row["id"]
        for row in rows
        if (row["kind"], row["study"], row["source"]) == (PROFILE, "TCGA-COAD", "source1")
        and row["patient"] != "PTCGA-COAD-2"
    }
    ranking = index.nearest_cohorts(vectors[4], k=9, filters=both)
    assert [match.cohort for match in ranking.cohorts + ranking.too_small] == ["TCGA-COAD tumor"]
    assert (ranking.cohorts + ranking.too_small)[0].n_profiles == len(found)
    assert (ranking.cohorts + ranking.too_small)[0].support == len(found)
    lung = index.cohort_similarities(vectors[4], filters=Filters(tissue="Lung"))
    assert list(lung) == ["GTEX-Lung"]


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (Filters(study="x' OR '1'='1"), "no study .*it has GTEX, TCGA-COAD, TCGA-LUAD, TCGA-UVM"),
        (Filters(tissue="lung"), "no tissue 'lung'; it has Lung"),
        (Filters(subtype=""), "no subtype ''"),
        (Filters(exclude_patient="PTCGA-LUAD-33"), "no patient .*close to it are PTCGA-LUAD-3"),
        (Filters(study="TCGA-LUAD", tissue="Lung"), "study 'TCGA-LUAD', tissue 'Lung' at once"),
    ],
)
def test_a_filter_that_nothing_passes_is_an_error_that_says_why(built, filters, said):
    index = ReferenceIndex.open(built[0], release_sha256="a" * 64)
    for ask in (index.nearest_profiles, index.nearest_cohorts):
        with pytest.raises(SpecformerError, match=said):
            ask(built[2][4], k=3, filters=filters)
    with pytest.raises(SpecformerError, match=said):
        index.cohort_similarities(built[2][4], filters=filters)


def test_the_values_of_a_filter_are_those_of_real_profiles(built):
    root, rows, _, _ = built
    index = ReferenceIndex.open(root, release_sha256="a" * 64)
    real = [row for row in rows if row["kind"] == PROFILE]
    for field in ("study", "tissue", "sample_type", "subtype", "source", "patient", "cohort"):
        assert index.values_of(field) == sorted({row[field] for row in real} - {""})
    with pytest.raises(SpecformerError, match=r"no filter 'unit'\. Use one of study"):
        index.values_of("unit")


def test_the_cohort_table_counts_as_the_rows_do(built):
    root, rows, _, _ = built
    index = ReferenceIndex.open(root, release_sha256="a" * 64)
    found = {row.id: row for row in index.cohort_rows()}
    luad = [r for r in rows if r["cohort"] == "TCGA-LUAD tumor"]
    assert found["TCGA-LUAD tumor"].n_profiles == len(luad)
    assert found["TCGA-LUAD tumor"].n_patients == len({r["patient"] for r in luad})
    assert found["TCGA-LUAD tumor"].n_sources == 2
    assert found["m0 median"].kind == MEDIAN


def naive_percentile(rows, vectors, cohort, similarity):
    """Leave each member's patient out and rank it against the rest of its cohort, by loops."""
    members = [i for i, r in enumerate(rows) if r["cohort"] == cohort and r["kind"] == PROFILE]
    scores = []
    for i in members:
        best = defaultdict(lambda: -2.0)
        for j in members:
            me, other = (rows[x]["patient"] or rows[x]["id"] for x in (i, j))
            if me != other:
                best[other] = max(best[other], float(vectors[i] @ vectors[j]))
        ranked = sorted(best.values(), reverse=True)
        scores.append(np.mean(ranked[: min(5, math.ceil(len(ranked) / 20))]))
    return 100 * np.mean(np.array(scores) <= similarity + 1e-6)


def test_percentiles_equal_a_naive_leave_one_patient_out(built):
    root, rows, vectors, _ = built
    index = ReferenceIndex.open(root, release_sha256="a" * 64)
    for query in (vectors[21], unit(np.random.default_rng(5), 1)[0]):
        for match in index.nearest_cohorts(query, k=9).cohorts:
            expected = naive_percentile(rows, vectors, match.cohort, match.similarity)
            assert match.percentile == pytest.approx(expected)


def test_a_query_that_is_far_from_everything_is_told_so(built):
    root, _, vectors, _ = built
    index = ReferenceIndex.open(root, release_sha256="a" * 64)
    assert index.nearest_cohorts(vectors[21], k=3).nothing_near is None
    away = np.eye(DIMENSIONS)[-1]
    ranking = index.nearest_cohorts(away, k=3)
    assert ranking.cohorts[0].similarity == 0
    assert ranking.cohorts[0].percentile < 1
    assert ranking.cohorts[0].cohort in ranking.nothing_near


def test_small_cohorts_are_named_not_ranked(built):
    root, _, vectors, _ = built
    index = ReferenceIndex.open(root, release_sha256="a" * 64)
    ranking = index.nearest_cohorts(vectors[0], k=3)
    small = {match.cohort: match for match in ranking.too_small}
    assert small["TCGA-UVM tumor"].n_profiles == 2


def test_medians_stay_apart(built):
    root, rows, vectors, _ = built
    index = ReferenceIndex.open(root, release_sha256="a" * 64)
    position = next(i for i, row in enumerate(rows) if row["kind"] == MEDIAN)
    ranking = index.nearest_cohorts(vectors[position], k=10)
    assert ranking.medians[0].cohort == "m0 median"
    assert ranking.medians[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert not any("median" in match.cohort for match in ranking.cohorts)
    near = index.nearest_profiles(vectors[position], k=90)
    assert not any("median" in neighbor.cohort for neighbor in near)


def test_pathway_moments_equal_numpy(built):
    root, rows, _, scores = built
    index = ReferenceIndex.open(root, release_sha256="a" * 64)
    stats = index.cohort_pathways("GTEX-Lung")
    own = [i for i, r in enumerate(rows) if r["cohort"] == "GTEX-Lung" and r["kind"] == PROFILE]
    position = stats.gene_sets["B"]
    values = scores[own, 1][np.isfinite(scores[own, 1])]
    assert 5 in own  # the profile with the NaN
    assert stats.n[position] == len(own) - 1
    assert stats.mean[position] == pytest.approx(values.mean(), rel=1e-5)
    assert stats.sd[position] == pytest.approx(values.std(ddof=1), rel=1e-5)


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(DIMENSIONS),
        np.full(DIMENSIONS, np.nan),
        np.ones(DIMENSIONS + 1),
        np.r_[np.inf, np.ones(DIMENSIONS - 1)],
    ],
)
def test_useless_vectors_are_refused(built, vector):
    index = ReferenceIndex.open(built[0], release_sha256="a" * 64)
    with pytest.raises(SpecformerError, match="query vector"):
        index.nearest_profiles(vector, k=3)
    with pytest.raises(SpecformerError, match="query vector"):
        index.nearest_cohorts(vector, k=3)


@pytest.mark.parametrize("k", [0, -1, 1001])
def test_k_out_of_range(built, k):
    index = ReferenceIndex.open(built[0], release_sha256="a" * 64)
    with pytest.raises(SpecformerError, match="k must be 1 to 1000"):
        index.nearest_profiles(built[2][0], k=k)


def test_unknown_cohort(built):
    index = ReferenceIndex.open(built[0], release_sha256="a" * 64)
    with pytest.raises(SpecformerError, match="no cohort 'TCGA-NONE tumor'"):
        index.cohort_pathways("TCGA-NONE tumor")


def test_another_release_is_refused(built):
    with pytest.raises(SpecformerError, match="cannot be compared"):
        ReferenceIndex.open(built[0], release_sha256="b" * 64)


def test_missing_index(tmp_path):
    with pytest.raises(SpecformerError, match="specformer index build"):
        ReferenceIndex.open(tmp_path, release_sha256="a" * 64)


def test_an_empty_newest_manifest_is_set_aside(built, caplog):
    root = built[0]
    versions = root / "profiles.lance" / "_versions"
    newest = min(versions.glob("*.manifest"))
    torn = versions / f"{int(newest.stem) - 1:020d}.manifest"
    torn.touch()
    with caplog.at_level(logging.WARNING):
        index = ReferenceIndex.open(root, release_sha256="a" * 64)
    assert torn.name in caplog.text
    assert not torn.exists()
    assert (root / "set-aside" / torn.name).stat().st_size == 0
    assert len(index.nearest_profiles(built[2][0], k=90)) == 90


def test_lost_rows_are_noticed(built):
    root = built[0]
    meta = json.loads((root / "index.json").read_text())
    meta["counts"]["rows"] += 1
    (root / "index.json").write_text(json.dumps(meta))
    with pytest.raises(SpecformerError, match="recorded 94"):
        ReferenceIndex.open(root, release_sha256="a" * 64)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 99}'])
def test_damaged_meta(built, content):
    (built[0] / "index.json").write_text(content)
    with pytest.raises(SpecformerError, match="specformer index build"):
        ReferenceIndex.open(built[0], release_sha256="a" * 64)


def test_changed_files_are_noticed(built):
    root = built[0]
    assert verify(read_info(root)) == []
    cohorts = root / "cohorts.parquet"
    cohorts.write_bytes(cohorts.read_bytes() + b"x")
    assert verify(read_info(root)) == ["cohorts.parquet"]
    with pytest.raises(SpecformerError, match=r"cohorts\.parquet"):
        ReferenceIndex.open(root, release_sha256="a" * 64)


def test_a_damaged_table_is_an_error_with_a_remedy(built):
    for path in Path(built[0] / "profiles.lance" / "_versions").glob("*.manifest"):
        path.write_bytes(b"junk")
    with pytest.raises(SpecformerError, match="cannot be opened"):
        ReferenceIndex.open(built[0], release_sha256="a" * 64)


def test_two_rows_of_one_id_are_refused(tmp_path):
    rows = make_rows()
    rows[1]["id"] = rows[0]["id"]
    with pytest.raises(SpecformerError, match="Two profiles have the id"):
        write_tables(
            tmp_path,
            rows=rows,
            vectors=unit(np.random.default_rng(0), len(rows)),
            pathways=CohortPathwayMoments([], []),
            release_id="r",
            release_sha256="a" * 64,
        )
