"""Nothing that is fitted may know a test patient: scramble them all, and nothing changes."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from specformer_encoder.corpus.labels import read_labels
from specformer_encoder.release import open_release
from specformer_mcp.cli import main


def scramble(labelled, split: str) -> int:
    """Permute the values of every profile of a split over the genes; how many there were."""
    names = {label.barcode for label in read_labels(labelled) if label.split == split}
    draw, done = np.random.default_rng(0), 0
    for path in (labelled / "expression").glob("*.parquet"):
        table = pq.read_table(path)
        for at, column in enumerate(table.column_names):
            if column in names:
                values = table[column].to_numpy()
                table = table.set_column(at, column, [draw.permutation(values)])
                done += 1
        pq.write_table(table, path)
    return done


def build(labelled, folder) -> str:
    """The hash of the release that the documented commands make of a labelled folder."""
    # Building a release leaves PyTorch with one thread, and training's bits depend on how many.
    torch.set_num_threads(1)
    corpus, run, out = (str(folder / name) for name in ("corpus", "run", "release"))
    for line in (
        ["data", "build", "--from", str(labelled), "--out", corpus],
        ["pretrain", "debug", "--corpus", corpus, "--out", run],
        ["release", "build", "--run", run, "--corpus", corpus, "--out", out, "--id", "debug"],
    ):
        assert main(line) == 0, line
    return open_release(folder / "release").sha256


@pytest.mark.parametrize(("split", "same"), [("test", True), ("valid", False)])
def test_scrambled_profiles_change_a_release_only_if_it_may_see_them(
    small_corpus, tmp_path, split, same
):
    hashes = []
    for name in ("plain", "scrambled"):
        folder = tmp_path / name
        shutil.copytree(small_corpus.labelled, folder / "labelled")
        if name == "scrambled":
            assert scramble(folder / "labelled", split) > 4
        hashes.append(build(folder / "labelled", folder))
    assert (hashes[0] == hashes[1]) is same
