"""Several processes train what one does, and none waits for one that is gone."""

from __future__ import annotations

import json
import socket
import textwrap

import pytest
from safetensors.torch import load_file
from training_support import start_process, with_train

from specformer_encoder.errors import TrainingError
from specformer_encoder.pretrain import Run
from specformer_encoder.recipe import RECIPES, load_recipe


@pytest.fixture
def recipe(small_corpus):
    return load_recipe("debug", len(small_corpus.packed.vocabulary))


def test_two_processes_train_what_one_does(small_corpus, recipe, tmp_path):
    """Started by torchrun; equal but for the order of float32 sums."""
    text = (RECIPES / "debug.toml").read_text()
    path = tmp_path / "debug.toml"
    # The warm start's decomposition has last digits that depend on the number of threads.
    changes = {"bfloat16 = true": "bfloat16 = false", "warm_start = true": "warm_start = false"}
    for line, other in changes.items():
        assert line in text
        text = text.replace(line, other)
    path.write_text(text)
    exact = with_train(recipe, bfloat16=False, warm_start=False)
    alone = Run(exact, small_corpus.packed, tmp_path / "one", "cpu")
    losses = []
    alone.train(losses.append, stop_at=4)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words += ["-m", "specformer_mcp", "pretrain", str(path), "--corpus", str(small_corpus.folder)]
    process = start_process([*words, "--out", str(tmp_path / "two"), "--stop-at", "4"])
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert said.count("stopped at step 4") == 1
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    for line, expected in zip(map(json.loads, lines), losses, strict=True):
        for name in ("masked", "named", "decode", "agree", "total"):
            assert line[name] == pytest.approx(expected[name], rel=1e-4), name
    one, two = (load_file(tmp_path / run / "last.safetensors") for run in ("one", "two"))
    assert one.keys() == two.keys()
    start = Run(exact, small_corpus.packed, tmp_path / "start", "cpu").model.state_dict()
    for name in (name for name in one if name.startswith("model.")):
        moved = one[name] - start[name.removeprefix("model.")]
        assert (two[name] - one[name]).norm() <= 1e-3 * moved.norm(), name


def test_unequal_shares_count_as_in_one_batch_and_no_process_waits_for_a_dead_one(
    small_corpus, recipe, tmp_path
):
    code = """
        import dataclasses, json, os, sys
        from pathlib import Path
        from specformer_encoder.packed import PackedCorpus
        from specformer_encoder.pretrain import Run
        from specformer_encoder.recipe import load_recipe
        corpus = PackedCorpus(Path(sys.argv[1]))
        recipe = load_recipe("debug", len(corpus.vocabulary))
        train = dataclasses.replace(recipe.train, warm_start=False)
        run = Run(dataclasses.replace(recipe, train=train), corpus, Path(sys.argv[2]), "cpu")
        views = run.batches.training(0)
        views[0].decodable[:3] = False  # in the first process nothing is left to decode
        print(json.dumps(run.train_step(views)), flush=True)
        if run.ranks.index == 1:
            os._exit(7)
        run.train(lambda _: None)
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    arguments = ["-c", textwrap.dedent(code), str(small_corpus.folder / "packed.arrow")]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    first, second = (
        start_process([*arguments, str(tmp_path)], RANK=r, **common) for r in ("0", "1")
    )
    assert second.wait(timeout=240) == 7
    printed, said = first.communicate(timeout=240)
    assert second.communicate()[0] == printed
    alone = Run(with_train(recipe, warm_start=False), small_corpus.packed, tmp_path / "one", "cpu")
    views = alone.batches.training(0)
    views[0].decodable[:3] = False
    for name, value in alone.train_step(views).items():
        assert json.loads(printed)[name] == pytest.approx(value, rel=1e-3), name
    assert first.returncode == 1
    assert "Another process of this run has stopped" in said


def test_processes_that_cannot_share_a_batch_or_do_not_meet_are_told(
    small_corpus, recipe, tmp_path, monkeypatch
):
    monkeypatch.setenv("RANK", "0")
    for size, said in (("3", "batch of 4 samples cannot be shared evenly by 3"), ("x", "no num")):
        monkeypatch.setenv("WORLD_SIZE", size)
        with pytest.raises(TrainingError, match=said):
            Run(recipe, small_corpus.packed, tmp_path, "cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(TrainingError, match="did not meet"):
        Run(recipe, small_corpus.packed, tmp_path, "cpu")
