"""compare_samples and describe_reference on real samples."""

import numpy as np
import pytest
from server_support import COADREAD, NORMAL, TUMOR, engine, server_for, talk, text_of

from specformer_encoder.profiles import load_profiles


async def handles_of(client, path):
    result = await client.call_tool("embed_sample", {"path": str(path)})
    assert not result.is_error, text_of(result)
    return [sample["sample"] for sample in result.structured_content["samples"]]


def compare(folder, a, b, **arguments):
    """Compare what lies at two lists of paths."""

    async def conversation(client):
        groups = [
            [handle for path in paths for handle in await handles_of(client, path)]
            for paths in (a, b)
        ]
        return await client.call_tool(
            "compare_samples", {"a": groups[0], "b": groups[1], "detail": "full", **arguments}
        )

    result = talk(server_for(folder), conversation)
    assert not result.is_error, text_of(result)
    return result


def test_tumour_against_normal_of_the_same_patient(tmp_path):
    result = compare(tmp_path, [TUMOR], [NORMAL])
    data = result.structured_content
    assert data["effect_size"] == "delta_z"
    assert 0.3 < data["distance"] < 1.5
    by_name = {cohort["cohort"]: cohort for cohort in data["cohorts"]}
    assert by_name["TCGA-LUAD normal"]["difference"] < 0
    higher = {pathway["gene_set"] for pathway in data["higher_in_a"]}
    # What divides more is the tumour.
    assert higher & {"HALLMARK_E2F_TARGETS", "HALLMARK_MYC_TARGETS_V1", "HALLMARK_G2M_CHECKPOINT"}
    assert "no test" in text_of(result)
    # Every number can be had back from the scores and the named cohort.
    stats = engine().loaded().index.cohort_pathways(data["against"])
    for pathway in data["higher_in_a"] + data["higher_in_b"]:
        sd = float(stats.sd[stats.gene_sets[pathway["gene_set"]]])
        expected = (pathway["a"] - pathway["b"]) / sd
        assert pathway["effect"] == pytest.approx(expected, abs=0.01 + 2e-4 / sd)


def test_distance_is_that_of_the_vectors(tmp_path):
    data = compare(tmp_path, [COADREAD], [TUMOR, NORMAL]).structured_content
    embedder = engine().loaded().embedder
    a = embedder.embed(load_profiles(COADREAD).values)
    b = np.concatenate([embedder.embed(load_profiles(p).values) for p in (TUMOR, NORMAL)])
    means = a.mean(axis=0), b.mean(axis=0)
    cosine = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    assert data["distance"] == pytest.approx(1 - cosine, abs=1e-4)
    pairs = [1 - a[i] @ a[j] for i in range(3) for j in range(3) if i != j]
    assert data["within_a"] == pytest.approx(np.mean(pairs), abs=1e-4)
    assert data["between"] == pytest.approx(np.mean(1 - a @ b.T), abs=1e-4)
    index = engine().loaded().index
    for cohort in data["cohorts"]:
        each = [index.cohort_similarities(vector)[cohort["cohort"]] for vector in a]
        assert cohort["a"] == pytest.approx(np.mean(each), abs=1e-3)


def test_groups_have_effect_sizes_and_say_how_small_they_are(tmp_path):
    result = compare(tmp_path, [COADREAD], [TUMOR, NORMAL], top=50)
    data = result.structured_content
    assert data["effect_size"] == "hedges_g"
    found = data["higher_in_a"] + data["higher_in_b"]
    assert len(found) == data["tested"] == 50
    for pathway in found:
        assert pathway["low"] <= pathway["effect"] <= pathway["high"]
        assert pathway["p"] <= pathway["q"] <= 1
        assert pathway["p"] >= 0.2  # 2 / C(5, 2): no smaller one is possible
    assert "smallest p" in text_of(result)
    assert "0.2" in text_of(result)
    # The order is by what the interval leaves standing, whatever the side.
    left = [max(0, p["low"], -p["high"]) for p in data["higher_in_a"]]
    assert left == sorted(left, reverse=True)


def test_a_group_may_be_one_handle_or_json_of_a_list(tmp_path):
    async def conversation(client):
        (tumor,), (normal,) = await handles_of(client, TUMOR), await handles_of(client, NORMAL)
        return [
            await client.call_tool("compare_samples", {"a": a, "b": b})
            for a, b in ((tumor, normal), ([tumor], f'["{normal}"]'))
        ]

    one, other = talk(server_for(tmp_path), conversation)
    assert not one.is_error, text_of(one)
    assert one.structured_content == other.structured_content


def test_comparisons_that_make_no_sense(tmp_path):
    async def conversation(client):
        (tumor,), (normal,) = await handles_of(client, TUMOR), await handles_of(client, NORMAL)
        asked = {
            "both groups": {"a": [tumor], "b": [tumor, normal]},
            "twice": {"a": [tumor, tumor], "b": normal},
            "1 to 200": {"a": [], "b": normal},
            "unknown or has expired": {"a": tumor, "b": "smp_0000000000000000"},
            "hallmark": {"a": tumor, "b": normal, "collection": "kegg"},
            "1 to 50": {"a": tumor, "b": normal, "top": 51},
            f"Did you mean {normal}": {"a": tumor, "b": normal[:-2]},
        }
        return {
            expected: await client.call_tool("compare_samples", arguments)
            for expected, arguments in asked.items()
        }

    for expected, result in talk(server_for(tmp_path), conversation).items():
        assert result.is_error, expected
        assert expected in text_of(result)
        assert "internal error" not in text_of(result)


def ask_reference(folder, *questions):
    async def conversation(client):
        return [await client.call_tool("describe_reference", one) for one in questions]

    return talk(server_for(folder), conversation)


def test_the_reference_is_listed_by_pages(tmp_path):
    async def conversation(client):
        pages, cursor = [], None
        while cursor is not None or not pages:
            arguments = {"what": "cohorts", "detail": "full", "cursor": cursor}
            result = await client.call_tool("describe_reference", arguments)
            pages.append(result.structured_content)
            cursor = pages[-1].get("next_cursor")
        return pages

    pages = talk(server_for(tmp_path), conversation)
    rows = [row for page in pages for row in page["rows"]]
    index = engine().loaded().index
    assert len(pages) > 1
    assert sorted(row["cohort"] for row in rows) == sorted(index.cohorts)
    assert all(row["name"] == index.cohorts[row["cohort"]] for row in rows)
    assert {page["total"] for page in pages} == {len(rows)}


def test_the_overview_types_and_collections(tmp_path):
    overview, types, collections = ask_reference(
        tmp_path, {}, {"what": "types", "detail": "full"}, {"what": "collections"}
    )
    loaded = engine().loaded()
    release = loaded.embedder.release
    assert overview.structured_content["rows"][0]["id"] == release.id
    rows = types.structured_content["rows"]
    assert [row["type"] for row in rows] == release.heads.types
    told = [row["type"] for row in rows if row["from_statistics"]]
    assert told == [name for name in release.heads.types if name in release.heads.simulated]
    names = {row["collection"]: row["gene_sets"] for row in collections.structured_content["rows"]}
    assert names == {c: loaded.gene_sets.collections.count(c) for c in names}


def test_gene_sets_are_found_by_name_and_by_member(tmp_path):
    name, gene, nothing, cursor = ask_reference(
        tmp_path,
        {"what": "gene_sets", "query": "hallmark hypoxia"},
        {"what": "gene_sets", "query": "cdkn1a", "detail": "full"},
        {"what": "cohorts", "query": "lugn"},
        {"what": "cohorts", "cursor": "; DROP TABLE"},
    )
    assert [row["gene_set"] for row in name.structured_content["rows"]] == ["HALLMARK_HYPOXIA"]
    found = {row["gene_set"] for row in gene.structured_content["rows"]}
    assert "HALLMARK_P53_PATHWAY" in found
    assert nothing.is_error
    assert "Lung" in text_of(nothing)
    assert cursor.is_error
    assert "next_cursor" in text_of(cursor)
