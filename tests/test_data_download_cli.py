"""`specformer data download` as a user calls it, against a mirror on this machine."""

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import numpy as np
import pytest
from http_server import Archive, Fault
from public_layouts import SAMPLE, example, gtex_gct, xena_tpm

from specformer_encoder.download import catalogue, data_sets, manifest
from specformer_encoder.genes import vocabulary
from specformer_encoder.profiles import load_profiles
from specformer_encoder.units import parse_unit
from specformer_mcp.cli import main
from specformer_mcp.progress import ProgressLine, megabytes

SMALL = gzip.compress(b"sample\tA\nx\t1\n", mtime=0)


@pytest.fixture
def mirror(monkeypatch):
    """Every file of the catalogue, small; the expression of GTEx and TCGA TPM from the examples."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with Archive() as server:
        for file in catalogue.files_of(list(catalogue.DATA_SETS)):
            server.put(path_of(file), SMALL if file.name.endswith(".gz") else b"id\tgene\n")
        server.put(path_of(catalogue.TCGA_TPM), xena_tpm())
        server.put(path_of(catalogue.GTEX_TPM), gtex_gct())
        yield server


def path_of(file):
    parts = urlsplit(file.url)
    return f"/pub/{parts.netloc}{parts.path}"


def download(mirror, folder, *names_and_options):
    options = ["--out", str(folder), "--mirror", f"{mirror.url}/pub/"]
    return main(["data", "download", *names_and_options, *options])


def names(files):
    return [file.name for file in files]


@pytest.mark.parametrize("name", list(catalogue.DATA_SETS))
def test_each_data_set_comes_whole(mirror, tmp_path, capsys, name):
    assert download(mirror, tmp_path, name) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    files = catalogue.DATA_SETS[name]
    assert [row[0] for row in rows] == [str(tmp_path / file.name) for file in files]
    for file, (_, size, sha256, state) in zip(files, rows, strict=True):
        content = (tmp_path / file.name).read_bytes()
        assert content == mirror.files[path_of(file)]
        assert (int(size), state) == (len(content), "fetched")
        assert sha256 == hashlib.sha256(content).hexdigest()
    beside = {path.name for path in tmp_path.iterdir()} - set(names(files))
    assert beside == {"manifest.json", ".manifest.lock"}


def test_what_was_fetched_can_be_read(mirror, tmp_path):
    assert download(mirror, tmp_path, "gtex") == 0
    assert download(mirror, tmp_path, "toil") == 0
    ids, _, tpm = example()
    there = np.isin(vocabulary().ensembl_ids, ids)
    for file, sample in (
        (catalogue.GTEX_TPM, "GTEX-1117F-0226-SM-5GZZ7"),
        (catalogue.TCGA_TPM, SAMPLE),
    ):
        profiles = load_profiles(tmp_path / file.name, unit=file.unit)
        assert profiles.samples == [sample]
        np.testing.assert_allclose(profiles.values[0][there], tpm, rtol=1e-3, atol=1e-3)


def test_the_manifest_says_where_each_file_came_from(mirror, tmp_path):
    mirror.fail(
        path_of(catalogue.SSGSEA), Fault(status=302, headers={"Location": "/elsewhere?key=secret"})
    )
    mirror.put("/elsewhere", SMALL)
    assert download(mirror, tmp_path, "paradigm") == 0
    text = (tmp_path / "manifest.json").read_text()
    assert "secret" not in text
    record = {one["name"]: one for one in json.loads(text)["files"]}[catalogue.SSGSEA.name]
    assert record["url"] == catalogue.SSGSEA.url
    assert record["asked_url"] == mirror.url + path_of(catalogue.SSGSEA)
    assert record["final_url"] == f"{mirror.url}/elsewhere"
    assert record["bytes"] == len(SMALL)
    assert record["sha256"] == hashlib.sha256(SMALL).hexdigest()
    assert record["etag"]
    age = datetime.now(UTC) - datetime.fromisoformat(record["date"])
    assert timedelta(seconds=-2) < age < timedelta(minutes=5)


def test_a_second_run_fetches_nothing(mirror, tmp_path, capsys):
    assert download(mirror, tmp_path, "paradigm") == 0
    asked = len(mirror.log)
    stray = tmp_path / f"{catalogue.SSGSEA.name}.part"  # of a process killed while it waited
    stray.touch()
    assert download(mirror, tmp_path, "paradigm") == 0
    assert len(mirror.log) == asked
    assert not stray.exists()
    assert capsys.readouterr().out.count("\tthere\n") == 2


def test_data_sets_share_files(mirror, tmp_path):
    assert download(mirror, tmp_path, "tcga") == 0
    mirror.log.clear()
    assert download(mirror, tmp_path, "toil", "tcga") == 0
    assert mirror.gets(path_of(catalogue.TCGA_TPM)) == []
    assert len(mirror.gets(path_of(catalogue.TOIL_TPM))) == 1


def test_verify_finds_what_changed(mirror, tmp_path, capsys):
    assert download(mirror, tmp_path, "paradigm") == 0
    target = tmp_path / catalogue.SSGSEA.name
    damaged = bytearray(SMALL)
    damaged[-9] ^= 1
    target.write_bytes(damaged)
    assert download(mirror, tmp_path, "paradigm") == 0  # the length is right
    assert target.read_bytes() == damaged
    assert download(mirror, tmp_path, "paradigm", "--verify") == 0
    captured = capsys.readouterr()
    assert "SHA-256 is not the recorded one" in captured.err
    assert captured.out.splitlines()[-2].endswith("\tfetched")
    assert captured.out.splitlines()[-1].endswith("\tverified")
    assert target.read_bytes() == SMALL


def test_a_file_of_another_length_is_fetched_again(mirror, tmp_path):
    assert download(mirror, tmp_path, "paradigm") == 0
    (tmp_path / catalogue.SSGSEA.name).write_bytes(b"x")
    assert download(mirror, tmp_path, "paradigm") == 0
    assert (tmp_path / catalogue.SSGSEA.name).read_bytes() == SMALL


def test_a_file_that_nobody_recorded_is_recognised(mirror, tmp_path):
    # Killed between the rename and the manifest, or brought by hand.
    (tmp_path / catalogue.SSGSEA.name).write_bytes(SMALL)
    assert download(mirror, tmp_path, "paradigm") == 0
    assert manifest.read(tmp_path)[catalogue.SSGSEA.name].bytes == len(SMALL)
    assert len(mirror.gets(path_of(catalogue.SSGSEA))) == 1


def test_dry_run_lists_sizes_and_fetches_nothing(mirror, tmp_path, capsys):
    (tmp_path / f"{catalogue.TCGA_TPM.name}.part").write_bytes(xena_tpm()[:1000])
    assert download(mirror, tmp_path, "tcga", "--dry-run") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == [*names(catalogue.DATA_SETS["tcga"]), "total"]
    size = len(xena_tpm())
    assert rows[0][1:3] == [megabytes(size), f"{1000 / size:.0%} there"]
    assert {one.method for one in mirror.log} == {"HEAD"}
    assert [path.name for path in tmp_path.iterdir()] == [f"{catalogue.TCGA_TPM.name}.part"]


def test_dry_run_without_network_lists_what_was_published(tmp_path, capsys):
    with Archive() as server:
        gone = server.url
    folder = tmp_path / "not there"
    assert (
        main(["data", "download", "toil", "--out", str(folder), "--dry-run", "--mirror", gone]) == 0
    )
    captured = capsys.readouterr()
    assert f"{catalogue.TOIL_TPM.name}\tabout 1,323.3 MB" in captured.out
    assert f"{catalogue.TCGA_FPKM.name}\tunknown" in captured.out
    assert "cannot be reached" in captured.err
    assert not folder.exists()


def test_a_file_that_is_gone_does_not_stop_the_others(mirror, tmp_path, capsys):
    del mirror.files[path_of(catalogue.SSGSEA)]
    assert download(mirror, tmp_path, "paradigm", "--dry-run") == 1
    assert "refused by the server" in capsys.readouterr().out
    assert download(mirror, tmp_path, "paradigm") == 1
    captured = capsys.readouterr()
    assert f"{catalogue.SSGSEA.name} answered 404" in captured.err
    assert "Traceback" not in captured.err
    assert (tmp_path / catalogue.SSGSEA_Z.name).read_bytes() == SMALL


def test_a_server_that_refuses_head_is_no_obstacle(mirror, tmp_path):
    mirror.fail(path_of(catalogue.SSGSEA), Fault(status=405, head=True))
    assert download(mirror, tmp_path, "paradigm") == 0


def test_an_interrupted_run_goes_on(mirror, tmp_path):
    content = gzip.compress(np.random.default_rng(1).bytes(300_000))
    path = path_of(catalogue.SSGSEA)
    mirror.put(path, content)
    gone = Fault(status=404)
    mirror.fail(path, Fault(drop_after=200_000), gone)
    assert download(mirror, tmp_path, "paradigm") == 1
    assert (tmp_path / f"{catalogue.SSGSEA.name}.part").stat().st_size > 100_000
    assert download(mirror, tmp_path, "paradigm") == 0
    assert (tmp_path / catalogue.SSGSEA.name).read_bytes() == content
    assert mirror.gets(path)[-1].start > 100_000


def test_two_processes_in_one_folder(mirror, tmp_path):
    mirror.pace = 0.005
    command = [sys.executable, "-m", "specformer_mcp", "data", "download", "tcga", "paradigm"]
    command += ["--out", str(tmp_path), "--mirror", f"{mirror.url}/pub"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [one.communicate(timeout=60) for one in both]
    assert [one.returncode for one in both] == [0, 0], outputs
    files = catalogue.files_of(["tcga", "paradigm"])
    assert set(manifest.read(tmp_path)) == set(names(files))
    for file in files:
        assert (tmp_path / file.name).read_bytes() == mirror.files[path_of(file)]
    assert not [path for path in tmp_path.iterdir() if ".part" in path.name]


def test_records_written_at_once_are_all_kept(tmp_path):
    def add(number):
        record = manifest.Record(f"f{number}", "u", "u", "u", "d", 1, "s", None, None, None)
        manifest.add(tmp_path, record, note=print)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(manifest.read(tmp_path)) == 12


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "files": []}', '{"files": [1]}'])
def test_a_damaged_manifest_is_named(mirror, tmp_path, capsys, text):
    (tmp_path / "manifest.json").write_text(text)
    assert download(mirror, tmp_path, "paradigm") == 1
    assert "manifest.json" in capsys.readouterr().err


def test_space_is_checked_before_anything_is_fetched(mirror, tmp_path, capsys):
    mirror.fail(
        path_of(catalogue.SSGSEA), Fault(head=True, headers={"Content-Length": str(10**15)})
    )
    assert download(mirror, tmp_path / "new", "paradigm") == 1
    assert re.search(r"needs 1,010,000,000,\d+,\d+ bytes.*free", capsys.readouterr().err)
    assert not (tmp_path / "new").exists()
    assert {one.method for one in mirror.log} == {"HEAD"}


def test_a_small_disk_is_refused_before_it_is_full(mirror, tmp_path, capsys):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted here")
    try:
        assert download(mirror, folder, "paradigm") == 1
        assert "free" in capsys.readouterr().err
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("url", ["nonsense", "ftp://a.example"])
def test_a_malformed_mirror(tmp_path, capsys, url):
    assert main(["data", "download", "gtex", "--out", str(tmp_path), "--mirror", url]) == 1
    assert "address" in capsys.readouterr().err


def test_a_mirror_keeps_host_and_path():
    url = data_sets.mirrored(catalogue.TCGA_EBPP.url, "https://user:pw@mirror.example/x/")
    assert url == (
        "https://user:pw@mirror.example/x/tcga-pancan-atlas-hub.s3.us-east-1.amazonaws.com/download"
        "/EB%2B%2BAdjustPANCAN_IlluminaHiSeq_RNASeqV2.geneExp.xena.gz"
    )
    assert data_sets.mirrored(catalogue.TCGA_EBPP.url, None) == catalogue.TCGA_EBPP.url


def test_the_catalogue_is_consistent():
    files = catalogue.files_of(list(catalogue.DATA_SETS))
    assert len(set(names(files))) == len({file.url for file in files}) == len(files)
    for file in files:
        assert file.url.startswith("https://")
        assert "/" not in file.name
        assert (file.unit is not None) == (file.role == "expression")
        assert file.unit is None or parse_unit(file.unit).unit
    assert catalogue.TCGA_EBPP.name == "EB++AdjustPANCAN_IlluminaHiSeq_RNASeqV2.geneExp.xena.gz"
    normalizations = [f.unit for f in catalogue.DATA_SETS["tcga"] if f.role == "expression"]
    assert len(normalizations) == 5


@pytest.mark.parametrize("arguments", [["kegg", "--out", "x"], ["tcga"], ["--out", "x"]])
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["data", "download", *arguments])
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_on_a_terminal_is_one_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    progress = ProgressLine(stream)
    progress.update("a.gz", 250_000, 1_000_000)
    progress.update("a.gz", 1_000_000, 1_000_000)
    progress.update("a" * 99 + "_Z.gz", 1_000_000, 1_000_000)
    progress.note("a remark")
    progress.close()
    line, remark, rest = stream.getvalue().split("\n")
    drawn = line.split("\r")[1:]
    assert " 25.0% of 1.0 MB" in drawn[0]
    assert "100.0% of 1.0 MB" in drawn[1]
    assert "a_Z.gz  100.0% of 1.0 MB" in drawn[2]
    assert {len(one) for one in drawn} == {59}
    assert "MB/s" in drawn[-1]
    assert (remark, rest) == ("a remark", "")


def test_progress_in_a_log_is_sparse():
    stream = io.StringIO()
    progress = ProgressLine(stream)
    for done in range(0, 1000, 10):
        progress.update("a.gz", done, 1000)
    progress.close()
    assert stream.getvalue() == ""
