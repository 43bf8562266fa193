"""The command line on real files, as a user calls it."""

import json
import subprocess
import sys

import pytest
from server_support import COADREAD, NORMAL, ROOT, TUMOR, environment

from specformer_mcp import __version__
from specformer_mcp.cli import main

BASE = {
    "sample",
    "top_type",
    "probabilities",
    "prediction_set",
    "out_of_distribution",
    "unit",
    "genes_measured",
}


def specformer(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "specformer_mcp", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=ROOT,
        env=environment(),
    )


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def test_predict_json(capsys):
    assert main(["predict", str(TUMOR), str(COADREAD), "--json"]) == 0
    rows = objects(capsys.readouterr().out)
    assert len(rows) == 4  # one object a sample
    for row in rows:
        assert row.keys() >= BASE
        assert row["top_type"] == max(row["probabilities"], key=row["probabilities"].get)
        assert row["top_type"].startswith(("TCGA-", "TARGET-"))
        assert row["genes_measured"] > 15_000
    assert rows[0]["top_type"] == "TCGA-LUAD"


@pytest.mark.parametrize(
    ("command", "added"),
    [
        ("embed", {"embedding"}),
        ("neighbors", {"cohorts", "neighbors"}),
        ("pathways", {"scores"}),
    ],
)
def test_the_other_commands_add_their_keys(capsys, command, added):
    assert main([command, str(TUMOR), "--json"]) == 0
    (row,) = objects(capsys.readouterr().out)
    assert row.keys() >= BASE | added
    if command == "embed":
        assert sum(x * x for x in row["embedding"]) == pytest.approx(1, abs=1e-4)
    if command == "neighbors":
        assert len(row["cohorts"]) == len(row["neighbors"]) == 5
    if command == "pathways":
        assert len(row["scores"]) >= 45
        assert all(-1 <= score <= 1 for score in row["scores"].values())


@pytest.mark.parametrize("command", ["predict", "neighbors", "pathways", "embed"])
def test_text_output_for_people(capsys, command):
    assert main([command, str(TUMOR)]) == 0
    assert "TCGA-44-3396" in capsys.readouterr().out


def test_a_bad_file_among_good_ones(tmp_path, capsys):
    bad = tmp_path / "bad.tsv"
    bad.write_text("gene\ts1\n")
    assert main(["predict", str(bad), str(TUMOR), str(tmp_path), str(NORMAL), "--json"]) == 1
    captured = capsys.readouterr()
    assert [row["file"] for row in objects(captured.out)] == [str(TUMOR), str(NORMAL)]
    assert "bad.tsv" in captured.err
    assert "is a folder" in captured.err
    assert "Traceback" not in captured.err


def test_options_reach_the_answer(capsys):
    arguments = ["neighbors", str(COADREAD), "--json", "--sample", "TCGA-A6-6138-01", "-k", "2"]
    assert main([*arguments, "--exclude-patient", "TCGA-A6-6138"]) == 0
    (row,) = objects(capsys.readouterr().out)
    assert row["sample"] == "TCGA-A6-6138-01"
    assert len(row["cohorts"]) == len(row["neighbors"]) == 2
    assert "TCGA-A6-6138" not in {neighbor["patient"] for neighbor in row["neighbors"]}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["predict", str(TUMOR), "--release", "/nowhere"], 1, "/nowhere"),
        (["predict", str(TUMOR), "--index", "/nowhere"], 1, "/nowhere"),
        (["neighbors", str(TUMOR), "-k", "0"], 1, "1 to 50"),
        (["pathways", str(TUMOR), "--collection", "kegg"], 1, "hallmark"),
        (["report", "/nowhere.tsv"], 1, "nowhere.tsv"),
        (["index", "info", "--index", "/nowhere"], 1, "specformer index build"),
    ],
)
def test_errors_are_one_line(capsys, arguments, code, message):
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["predict"], ["neighbors", "f", "-k", "x"]]
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert __version__ in capsys.readouterr().out


def test_index_info(capsys):
    assert main(["index", "info"]) == 0
    out = capsys.readouterr().out
    assert "all unchanged" in out
    assert "published medians" in out


def test_report_through_a_real_server():
    done = specformer("report", TUMOR)
    assert done.returncode == 0, done.stderr
    report = done.stdout
    for part in ("unit", "vocabulary genes measured", "Cancer type", "prediction set"):
        assert part in report
    for part in ("out of distribution", "Nearest cohorts", "Pathways that stand out"):
        assert part in report
    assert "TCGA-LUAD tumor" in report
    assert "patient TCGA-44-3396 left out" in report
    assert report.count("support") == 5
    assert "Provenance: release specformer" in report
    assert "MCP 2026-07-28 over stdio" in report


def test_report_of_one_sample_of_several():
    done = specformer("report", COADREAD, "--sample", "TCGA-A6-6138-01")
    assert done.returncode == 0, done.stderr
    assert "TCGA-A6-6138-01" in done.stdout
    assert "TCGA-A6-5664-01" not in done.stdout


def test_report_of_a_bad_file_says_what_to_do(tmp_path):
    bad = tmp_path / "bad.tsv"
    bad.write_text("gene\ts1\n")
    done = specformer("report", bad)
    assert done.returncode == 1
    assert "bad.tsv" in done.stderr
    assert "Traceback" not in done.stderr
