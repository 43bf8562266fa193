"""Files of many origins through the command line and the server, as their users hand them over."""

from __future__ import annotations

import json

import numpy as np
import pytest
from http_server import Archive, gdc_metadata
from public_layouts import example, gdc_star, gtex_gct, xena_tpm
from server_support import server_for, talk, text_of

from specformer_encoder.download import gdc
from specformer_encoder.genes import MINIMUM_GENES
from specformer_mcp.cli import main

UUID = "0f5a2c1e-9b1d-4e57-8c3a-1d2e3f405162"


@pytest.fixture
def gdc_api(monkeypatch, tmp_path):
    """A GDC that holds the example tumour under `UUID`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(gdc, "_checked", {})
    star = gdc_star()
    with Archive() as server:
        monkeypatch.setenv(gdc.ENVIRONMENT, f"{server.url}/")
        server.put(f"/files/{UUID}", gdc_metadata(UUID, star))
        server.put(f"/data/{UUID}", star)
        yield server


def predicted(capsys):
    output = capsys.readouterr()
    return [json.loads(line) for line in output.out.splitlines()], output.err


@pytest.mark.usefixtures("gdc_api")
def test_a_gdc_uuid_on_the_command_line(capsys):
    assert main(["predict", f"gdc:{UUID}", "--json"]) == 0
    (row,), told = predicted(capsys)
    assert (row["sample"], row["file"]) == ("TCGA-44-3396-01A", f"gdc:{UUID}")
    assert (row["top_type"], row["unit"]) == ("TCGA-LUAD", "counts")
    assert "project TCGA-LUAD" in told


@pytest.mark.usefixtures("gdc_api")
def test_a_gdc_uuid_through_the_server(tmp_path):
    async def conversation(client):
        good = await client.call_tool("embed_sample", {"path": f"gdc:{UUID}"})
        other = f"gdc:{UUID[:-1]}3"
        return good, await client.call_tool("embed_sample", {"path": other})

    good, unknown = talk(server_for(tmp_path), conversation)
    assert not good.is_error, text_of(good)
    assert good.structured_content["samples"][0]["name"] == "TCGA-44-3396-01A"
    assert "project TCGA-LUAD" in good.structured_content["notes"][0]
    assert unknown.is_error
    assert "UUID" in text_of(unknown)
    assert str(tmp_path) not in text_of(good) + text_of(unknown)


@pytest.mark.parametrize(
    ("name", "content", "unit", "scale"),
    [
        ("tcga_RSEM_gene_tpm.gz", xena_tpm, "tpm", "log2(x+0.001)"),
        ("GTEx_gene_tpm.gct.gz", gtex_gct, "tpm", "linear"),
        ("a.rna_seq.augmented_star_gene_counts.tsv", gdc_star, "counts", "linear"),
    ],
)
def test_public_layouts_are_called_the_same(tmp_path, capsys, name, content, unit, scale):
    path = tmp_path / name
    path.write_bytes(content())
    assert main(["predict", str(path), "--json"]) == 0
    (row,), _ = predicted(capsys)
    assert (row["top_type"], row["unit"], row["unit_scale"]) == ("TCGA-LUAD", unit, scale)
    assert row["genes_measured"] == len(example()[0])


@pytest.fixture
def matrix_with_a_thin_sample(tmp_path):
    """The tumour as counts beside a sample in which hardly a gene is expressed."""
    ids, _, tpm = example()
    thin = np.zeros(len(ids), int)
    thin[: MINIMUM_GENES - 1] = 3
    path = tmp_path / "counts.tsv"
    rows = [f"{g}\t{n}\t{t}" for g, n, t in zip(ids, (tpm * 20).astype(int), thin, strict=True)]
    path.write_text("gene_id\ttumour\tthin\n" + "\n".join(rows) + "\n")
    return path


def test_a_sample_that_cannot_be_ordered_does_not_stop_the_others(
    matrix_with_a_thin_sample, capsys
):
    assert main(["predict", str(matrix_with_a_thin_sample), "--json"]) == 1
    rows, told = predicted(capsys)
    assert [row["sample"] for row in rows] == ["tumour"]
    assert f"sample 'thin' is left out. It has {MINIMUM_GENES - 1} genes" in told


def test_the_server_names_the_sample_that_it_left_out(matrix_with_a_thin_sample):
    path = matrix_with_a_thin_sample

    async def conversation(client):
        return [
            await client.call_tool("embed_sample", {"path": str(path), **extra})
            for extra in ({}, {"sample": "thin"}, {"sample": "absent"})
        ]

    both, thin, absent = talk(server_for(path.parent), conversation)
    assert [one["name"] for one in both.structured_content["left_out"]] == ["thin"]
    assert "left out: thin: It has 499 genes" in text_of(both)
    assert thin.is_error
    assert "at least 500 are needed" in text_of(thin)
    assert "has no sample 'absent'; it has 2: 'tumour', 'thin'" in text_of(absent)


def test_a_folder_that_is_no_format_is_refused(tmp_path):
    async def conversation(client):
        return await client.call_tool("embed_sample", {"path": str(tmp_path)})

    result = talk(server_for(tmp_path), conversation)
    assert result.is_error
    assert "is a folder" in text_of(result)
