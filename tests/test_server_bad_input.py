"""Every bad input of the list: an error that says what to do, and the server lives on."""

import gzip
import random

import pytest
from server_support import TUMOR, example_rows, server_for, talk, text_of, write_rows

from specformer_encoder.errors import InputFileError
from specformer_mcp.engine import Engine
from specformer_mcp.samples import SampleStore
from specformer_mcp.samples.store import LIFETIME_S

RNG = random.Random(11)  # noqa: S311


def body():
    return [[row[0], row[2]] for row in example_rows()[1:] if row[0] != "?"]


def matrix(folder, rows, header=("gene", "s1")):
    return write_rows(folder / "m.tsv", [list(header), *rows])


def with_value(folder, value):
    rows = body()
    rows[100][1] = value
    return matrix(folder, rows)


def raw(folder, content, name="m.tsv"):
    (folder / name).write_bytes(content)
    return folder / name


CASES = {
    # name: (file, what the message must say)
    "missing": (lambda d: d / "nowhere.tsv", ["nowhere.tsv", "spelling"]),
    "folder": (lambda d: d, ["folder"]),
    "empty": (lambda d: raw(d, b""), ["empty"]),
    "junk": (lambda d: raw(d, RNG.randbytes(9000)), ["m.tsv"]),
    "truncated gzip": (lambda d: raw(d, TUMOR.read_bytes()[:60_000], "m.tsv.gz"), ["truncated"]),
    "no gene column": (
        lambda d: matrix(d, [[str(i), value] for i, (_, value) in enumerate(body())]),
        ["gene"],
    ),
    "unknown identifiers": (
        lambda d: matrix(d, [[f"QQQ{i}", value] for i, (_, value) in enumerate(body())]),
        ["QQQ0", str(len(body()))],
    ),
    "mouse": (
        lambda d: matrix(d, [[gene.capitalize(), value] for gene, value in body()]),
        ["mouse", "human"],
    ),
    "too few genes": (lambda d: matrix(d, body()[:60]), ["60"]),
    "negative": (lambda d: with_value(d, "-5"), ["negative"]),
    "not a number": (lambda d: with_value(d, "high"), ["high"]),
    "infinite": (lambda d: with_value(d, "inf"), ["inf"]),
    "z-scored": (
        lambda d: matrix(d, [[gene, f"{RNG.gauss(0, 1):.4f}"] for gene, _ in body()]),
        ["z-scor"],
    ),
    "stacked samples": (lambda d: matrix(d, body() + body()), ["more than one row", "column"]),
    "duplicate samples": (
        lambda d: matrix(d, [[g, v, v] for g, v in body()], header=("gene", "s1", "s1")),
        ["s1"],
    ),
}


async def still_alive(client):
    result = await client.call_tool("embed_sample", {"path": str(TUMOR)})
    return not result.is_error


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("case", CASES)
def test_bad_files(tmp_path, case, mode):
    make, expected = CASES[case]
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    async def conversation(client):
        result = await client.call_tool("embed_sample", {"path": str(path)})
        return result, await still_alive(client)

    store = SampleStore()
    result, alive = talk(server_for(tmp_path, store=store), conversation, mode=mode)
    message = text_of(result)
    assert result.is_error
    assert "internal error" not in message
    assert "Traceback" not in message
    for part in expected:
        assert part.lower() in message.lower(), message
    assert len(message) < 800
    assert alive
    assert len(store) == 1  # only the good sample
    assert sorted(tmp_path.rglob("*")) == before  # nothing written


@pytest.mark.parametrize("name", ["m.tsv", "m.tsv.gz"])
def test_files_past_the_size_cap(tmp_path, name):
    content = TUMOR.read_bytes()
    path = raw(tmp_path, gzip.decompress(content) if name == "m.tsv" else content, name)

    async def conversation(client):
        return await client.call_tool("embed_sample", {"path": str(path)})

    server = server_for(tmp_path, engine_=Engine(max_bytes=100_000))
    result = talk(server, conversation)
    assert result.is_error
    assert "internal error" not in text_of(result)
    assert "100" in text_of(result)


def test_a_file_that_inflates_past_the_cap(tmp_path):
    path = raw(tmp_path, gzip.compress(b"gene\ts1\n" + b"TP53\t1\n" * 2_000_000), "bomb.tsv.gz")

    async def conversation(client):
        return await client.call_tool("embed_sample", {"path": str(path)})

    server = server_for(tmp_path, engine_=Engine(max_inflated_bytes=1_000_000))
    result = talk(server, conversation)
    assert result.is_error
    assert "internal error" not in text_of(result)
    assert "inflate" in text_of(result) or "decompress" in text_of(result)


def test_the_caps_are_for_strangers():
    with pytest.raises(InputFileError, match="the limit is 1,000"):
        Engine(max_bytes=1000).open(TUMOR)
    assert len(Engine(max_bytes=1000, own_files=True).open(TUMOR).samples) == 1


def test_genes_of_several_rows_are_merged_and_the_answer_says_so(tmp_path):
    """Real files have them (two rows of SLC35E2); how many is part of the answer."""
    once, twice = matrix(tmp_path, body()), tmp_path / "twice.tsv"
    rows = body()
    write_rows(twice, [["gene", "s1"], *rows, *[[gene, "9.75"] for gene, _ in rows[:40]]])

    async def conversation(client):
        return [
            (await client.call_tool("embed_sample", {"path": str(path)})) for path in (once, twice)
        ]

    first, second = talk(server_for(tmp_path), conversation)
    assert not second.is_error, text_of(second)
    merged = [result.structured_content["genes"]["merged"] for result in (first, second)]
    assert merged[1] - merged[0] >= 40
    assert f"{merged[1]} rows share their gene with another row" in text_of(second)


ARGUMENTS = {
    "unknown handle": ("predict_cancer_type", {"sample": "smp_0000000000000000"}, "embed_sample"),
    "a path as a handle": ("nearest_cohorts", {"sample": str(TUMOR)}, "embed_sample"),
    "no handle": ("pathway_scores", {}, "sample"),
    "neither path nor values": ("embed_sample", {}, "either path or values"),
    "both": ("embed_sample", {"path": str(TUMOR), "values": {"TP53": 1.0}}, "either"),
    "outside": ("embed_sample", {"path": "/etc/hostname"}, "--allow-dir"),
    "NUL": ("embed_sample", {"path": "a\0b"}, "NUL"),
    "unknown unit": ("embed_sample", {"path": str(TUMOR), "unit": "bananas"}, "bananas"),
    "unknown sample": ("embed_sample", {"path": str(TUMOR), "sample": "nobody"}, "nobody"),
    "too few values": ("embed_sample", {"values": {"TP53": 1.0, "EGFR": 2.0}}, "2"),
    "unknown tool": ("embed", {}, "Unknown tool"),
}
ON_A_HANDLE = {
    "k = 0": ("nearest_cohorts", {"k": 0}, "1 to 50"),
    "k = 51": ("nearest_cohorts", {"k": 51}, "1 to 50"),
    "k = -1": ("nearest_cohorts", {"k": -1}, "1 to 50"),
    "k = many": ("nearest_cohorts", {"k": "many"}, "integer"),
    "top = 0": ("pathway_scores", {"top": 0}, "1 to 50"),
    "collection": ("pathway_scores", {"collection": "kegg"}, "hallmark"),
    "cohort": ("pathway_scores", {"against": "TCGA-XXXX tumor"}, "nearest_cohorts"),
    "median": ("pathway_scores", {"against": "TCGA-LUAD median"}, "nearest_cohorts"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_bad_arguments(tmp_path, case):
    tool, arguments, expected = ARGUMENTS[case]

    async def conversation(client):
        result = await client.call_tool(tool, arguments)
        return result, await still_alive(client)

    result, alive = talk(server_for(tmp_path), conversation)
    assert result.is_error
    assert expected in text_of(result)
    assert "internal error" not in text_of(result)
    assert alive


@pytest.mark.parametrize("case", ON_A_HANDLE)
def test_bad_arguments_on_a_good_handle(tmp_path, case):
    tool, arguments, expected = ON_A_HANDLE[case]

    async def conversation(client):
        embedded = await client.call_tool("embed_sample", {"path": str(TUMOR)})
        handle = embedded.structured_content["samples"][0]["sample"]
        result = await client.call_tool(tool, {"sample": handle, **arguments})
        again = await client.call_tool(tool, {"sample": handle})
        return result, again

    result, again = talk(server_for(tmp_path), conversation)
    assert result.is_error
    assert expected in text_of(result)
    assert not again.is_error


def test_an_expired_handle(tmp_path):
    now = 0.0
    store = SampleStore(clock=lambda: now)

    async def conversation(client):
        nonlocal now
        embedded = await client.call_tool("embed_sample", {"path": str(TUMOR)})
        handle = {"sample": embedded.structured_content["samples"][0]["sample"]}
        before = await client.call_tool("predict_cancer_type", handle)
        now += LIFETIME_S + 1
        return before, await client.call_tool("predict_cancer_type", handle)

    before, after = talk(server_for(tmp_path, store=store), conversation)
    assert not before.is_error
    assert after.is_error
    assert "Call embed_sample" in text_of(after)


def test_a_missing_release_says_so_and_the_server_lives(tmp_path):
    server = server_for(tmp_path, engine_=Engine(release=tmp_path / "nowhere"))

    async def conversation(client):
        first = await client.call_tool("embed_sample", {"path": str(TUMOR)})
        return first, await client.call_tool("predict_cancer_type", {"sample": "smp_x"})

    first, second = talk(server, conversation)
    assert first.is_error
    assert "nowhere" in text_of(first)
    assert "internal error" not in text_of(first)
    assert "Call embed_sample" in text_of(second)


def test_a_bug_is_logged_with_its_traceback_and_told_in_a_sentence(tmp_path, caplog):
    """An engine whose release object is broken stands for any bug below the tools."""

    class Broken(Engine):
        def open(self, *_, **__):
            raise ZeroDivisionError("the inner secret")

    async def conversation(client):
        return await client.call_tool("embed_sample", {"path": str(TUMOR)})

    result = talk(server_for(tmp_path, engine_=Broken()), conversation)
    assert result.is_error
    assert "internal error" in text_of(result)
    assert "secret" not in text_of(result)
    assert "Do not repeat" in text_of(result)
    assert "the inner secret" in caplog.text
