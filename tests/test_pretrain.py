"""Training end to end on the debug recipe: it learns, resumes exactly, stops with a reason."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from specformer_encoder.batches import Batches
from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.build import build_corpus
from specformer_encoder.corpus.labels import read_labels
from specformer_encoder.errors import CorpusError, RecipeError, TrainingError
from specformer_encoder.packed import PackedCorpus
from specformer_encoder.pretrain import Run, agreement
from specformer_encoder.recipe import RECIPES, load_recipe, stored_recipe
from specformer_mcp.cli import main
from specformer_mcp.commands.pretrain import Metrics, TrainingDisplay


@pytest.fixture
def recipe(small_corpus):
    return load_recipe("debug", len(small_corpus.packed.vocabulary))


def quiet(_numbers):
    pass


def with_train(recipe, **changes):
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, **changes))


def assert_same_bits(one, other):
    one, other = load_file(one / "last.safetensors"), load_file(other / "last.safetensors")
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_training_lowers_the_validation_loss_and_writes_checkpoints(small_corpus, recipe, tmp_path):
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")
    before = run.validate()
    reports = []
    run.train(reports.append)
    assert run.validate()["total"] < before["total"]
    assert run.best == min(r["valid_total"] for r in reports if "valid_total" in r)
    assert {p.name for p in tmp_path.iterdir()} == {"last.safetensors", "best.safetensors"}


def test_many_short_runs_give_the_same_weights_as_one(small_corpus, recipe, tmp_path):
    Run(recipe, small_corpus.packed, tmp_path / "one", "cpu").train(quiet)
    for stop in (3, 4, 9, None):
        run = Run(recipe, small_corpus.packed, tmp_path / "many", "cpu")
        run.train(quiet, stop_at=stop)
    assert_same_bits(tmp_path / "one", tmp_path / "many")


def test_the_command_in_many_short_runs_gives_the_weights_and_metrics_of_one(
    small_corpus, tmp_path, capsys
):
    command = ["pretrain", "debug", "--corpus", str(small_corpus.folder), "--out"]
    assert main([*command, str(tmp_path / "one")]) == 0
    many = tmp_path / "many"
    for stop in (["--stop-at", "2"], ["--stop-after", "0"], ["--stop-after", "0"], []):
        assert main([*command, str(many), *stop]) == 0
    said = capsys.readouterr().err
    assert [f"stopped at step {step}" in said for step in (2, 3, 4)] == [True] * 3
    assert said.count("finished at step 12") == 2
    assert_same_bits(tmp_path / "one", many)
    lines = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (tmp_path / "one", many)
    ]
    clocks = {"seconds", "tokens_per_second", "seconds_left"}
    one, other = ([{k: v for k, v in x.items() if k not in clocks} for x in ls] for ls in lines)
    assert one == other
    assert [line["step"] for line in one if "masked" in line] == list(range(1, 13))


def test_steps_after_the_last_checkpoint_are_not_in_the_metrics_twice(tmp_path):
    with Metrics(tmp_path, 0) as metrics:
        for step in (1, 2, 3):
            metrics.write({"step": step})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 4, "ma')  # torn by a kill
    with Metrics(tmp_path, 2) as metrics:
        metrics.write({"step": 3})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_a_validation_that_was_cut_short_is_made_up_for(small_corpus, recipe, tmp_path):
    """Killed after the save before the validation of step 6, a run validates step 6 first."""
    Run(recipe, small_corpus.packed, tmp_path / "one", "cpu").train(quiet)
    run = Run(recipe, small_corpus.packed, tmp_path / "many", "cpu")
    run.validate = lambda _unwanted: {}
    run.train(quiet, stop_at=6)
    assert not (tmp_path / "many" / "best.safetensors").exists()
    reports = []
    Run(recipe, small_corpus.packed, tmp_path / "many", "cpu").train(reports.append)
    assert [r["step"] for r in reports if "valid_total" in r] == [6, 12]
    best = [load_file(tmp_path / name / "best.safetensors") for name in ("one", "many")]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[0])


def test_an_interrupt_ends_a_validation_and_saves(small_corpus, recipe, tmp_path):
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")

    def interrupted_at_4(numbers):
        if numbers["step"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    run.train(interrupted_at_4)
    assert run.step == 4
    assert Run(recipe, small_corpus.packed, tmp_path, "cpu").step == 4
    assert run.validate(lambda: True) == {}


def test_a_kill_loses_no_more_than_was_trained_since_the_last_checkpoint(
    small_corpus, recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr("specformer_encoder.pretrain.CHECKPOINT_SECONDS", 0.0)
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")

    class KilledError(Exception):
        pass

    def killed_in_step_5(numbers):
        if numbers["step"] == 5:
            raise KilledError

    with pytest.raises(KilledError):
        run.train(killed_in_step_5)
    assert Run(recipe, small_corpus.packed, tmp_path, "cpu").step == 4


def test_batches_from_processes_train_the_same(small_corpus, recipe, tmp_path):
    Run(recipe, small_corpus.packed, tmp_path / "one", "cpu").train(quiet, stop_at=3)
    run = Run(recipe, small_corpus.packed, tmp_path / "other", "cpu", workers=2)
    run.train(quiet, stop_at=3)
    assert_same_bits(tmp_path / "one", tmp_path / "other")


def test_batches_hide_only_measured_genes_and_never_drop_a_target(small_corpus, recipe):
    batches = Batches(small_corpus.packed, recipe)
    for step in range(10):
        for view in batches.training(step):
            assert view.measured.gather(1, view.genes).all()
            assert (view.tokens.gather(1, view.hidden) == recipe.model.genes).all()
            visible = view.tokens[view.tokens != recipe.model.genes]
            assert visible.numel() + view.hidden.numel() == view.tokens.numel()
            assert view.decodable.any()


def test_training_batches_hold_training_patients_only(small_corpus):
    packed = small_corpus.packed
    assert set(packed.labels["split"]) == {"train", "valid"}
    train = {packed.labels["patient"][row] for row in packed.rows("train")}
    valid = {packed.labels["patient"][row] for row in packed.rows("valid")}
    assert not train & valid


def test_statistics_come_from_training_patients_alone(small_corpus, tmp_path):
    """Scramble every profile outside train: nothing fitted may change."""
    import pyarrow.parquet as pq

    shutil.copytree(small_corpus.labelled, tmp_path, dirs_exist_ok=True)
    table = pq.read_table(small_corpus.labelled / "expression" / "simulated.counts.parquet")
    draw = np.random.default_rng(0)
    for label in read_labels(tmp_path):
        if label.split != "train" and label.unit == "counts":
            place = table.column_names.index(label.barcode)
            values = draw.permutation(table[label.barcode].to_numpy())
            table = table.set_column(place, label.barcode, [values])
    pq.write_table(table, tmp_path / "expression" / "simulated.counts.parquet")
    build_corpus([tmp_path], tmp_path / "built")
    scrambled = Corpus.open(tmp_path / "built").packed()
    for name in ("idf", "mean", "spread"):
        ours = getattr(small_corpus.packed.statistics, name)
        assert np.array_equal(ours, getattr(scrambled.statistics, name)), name


def test_agreement_is_low_when_views_find_each_other():
    torch.manual_seed(0)
    u = torch.randn(16, 8)
    assert agreement(u, u + 0.01 * torch.randn_like(u), 0.1) < 0.1
    assert agreement(u, torch.randn(16, 8), 0.1) > 2


def test_nan_loss_stops_with_the_reason(small_corpus, recipe, tmp_path):
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")
    run.save("last")
    with torch.no_grad():
        run.model.encoder.gene.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss became nan at step 0"):
        run.train_step()
    assert load_file(tmp_path / "last.safetensors")["model.encoder.gene.weight"].isfinite().all()


def test_a_full_disk_stops_with_the_reason_and_keeps_the_checkpoint(small_corpus, recipe, tmp_path):
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")
    run.save("last")
    before = (tmp_path / "last.safetensors").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow past 100 kB, which is what a full disk or a quota looks like to a writer.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(TrainingError, match="could not be written"):
            run.save("last")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert not list(tmp_path.glob("*.partial-*"))


def test_a_damaged_checkpoint_and_an_unusable_device_are_named(small_corpus, recipe, tmp_path):
    (tmp_path / "last.safetensors").write_bytes(b"torn")
    with pytest.raises(TrainingError, match="not a whole checkpoint"):
        Run(recipe, small_corpus.packed, tmp_path, "cpu")
    with pytest.raises(TrainingError, match="cannot compute on 'gpu'"):
        Run(recipe, small_corpus.packed, tmp_path / "new", "gpu")


def test_a_run_of_another_recipe_is_not_resumed(small_corpus, recipe, tmp_path):
    Run(recipe, small_corpus.packed, tmp_path, "cpu").save("last")
    other = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, seed=2))
    with pytest.raises(TrainingError, match="another recipe"):
        Run(other, small_corpus.packed, tmp_path, "cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("mask =", "masc ="), "unknown key 'masc'"),
        (lambda text: text.replace("seed = 1\n", ""), "lacks the keys seed"),
        (lambda text: text.replace("steps = 12", 'steps = "12"'), "should be int"),
        (lambda text: text.replace("heads = 2", "heads = 3"), "not a multiple of heads"),
        (lambda text: text.replace("heads = 2", "heads = 0"), "heads = 0 must be above zero"),
        (lambda text: text.replace("mask = 0.2", "mask = 1.2"), "must be in"),
        (lambda text: text.replace("length = 128", "length = 201"), "exceeds the 200"),
        (lambda text: text.replace("panel_share = 0.5", "panel_share = -1"), "must be in"),
        (lambda text: text.replace("tilt = 0.2", "tilt = -1"), "must not be below 0"),
        (lambda text: text.replace("[model]", "[model]\ngenes = 7"), "the corpus decides"),
        (lambda text: text + "[extra]\n", "unknown table 'extra'"),
        (lambda text: text + "seed = = 1\n", "not valid TOML"),
    ],
)
def test_recipes_are_checked(change, said, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(change((RECIPES / "debug.toml").read_text()))
    with pytest.raises(RecipeError, match=said):
        load_recipe(str(path), 200)


def test_unknown_recipes_and_corpora_say_what_there_is(tmp_path):
    with pytest.raises(RecipeError, match="cpu, debug, gpu, paper"):
        load_recipe("huge", 100)
    with pytest.raises(CorpusError, match="no packed corpus"):
        PackedCorpus(tmp_path / "none.arrow")
    junk = tmp_path / "junk.arrow"
    junk.write_bytes(json.dumps({"not": "arrow"}).encode())
    with pytest.raises(CorpusError, match="not a packed corpus"):
        PackedCorpus(junk)


def test_a_run_is_not_resumed_on_another_ordering(small_corpus, recipe, tmp_path):
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")
    run.save("last")
    other = small_corpus.corpus.packed()
    other.idf_sha256 = "0" * 64
    with pytest.raises(TrainingError, match="another corpus"):
        Run(recipe, other, tmp_path, "cpu")


def ours(arguments, **changes):
    """Start a process of the tests' interpreter."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | changes
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


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
    process = ours([*words, "--out", str(tmp_path / "two"), "--stop-at", "4"])
    _, said = process.communicate(timeout=120)
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


def test_a_process_that_dies_does_not_leave_the_other_waiting(small_corpus, tmp_path):
    code = """
        import os, sys
        from pathlib import Path
        from specformer_encoder.packed import PackedCorpus
        from specformer_encoder.pretrain import Run
        from specformer_encoder.recipe import load_recipe
        corpus = PackedCorpus(Path(sys.argv[1]))
        recipe = load_recipe("debug", len(corpus.vocabulary))
        run = Run(recipe, corpus, Path(sys.argv[2]), "cpu")
        run.train_step()
        if run.ranks.index == 1:
            os._exit(7)
        run.train(lambda _: None)
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    arguments = ["-c", textwrap.dedent(code), str(small_corpus.folder / "packed.arrow")]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    first, second = (ours([*arguments, str(tmp_path)], RANK=r, **common) for r in ("0", "1"))
    assert second.wait(timeout=60) == 7
    _, said = first.communicate(timeout=60)
    second.communicate()
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


def test_the_command_imports_nothing_but_the_libraries_of_training(small_corpus, tmp_path):
    code = """
        import sys
        for absent in ("pandas", "scipy", "sklearn", "lancedb", "mcp", "pydantic", "httpx"):
            sys.modules[absent] = None  # importing it fails
        import os
        os.environ.pop("OMP_WAIT_POLICY", None)
        from specformer_mcp.cli import main
        code = main(["pretrain", "debug", "--corpus", sys.argv[1], "--out", sys.argv[2],
                     "--stop-at", "1"])
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
        sys.exit(code)
    """
    process = ours(["-c", textwrap.dedent(code), str(small_corpus.folder), str(tmp_path / "run")])
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said


def test_the_display_rewrites_one_line_on_a_terminal_and_few_lines_elsewhere():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    numbers = {"steps": 9, "seconds": 1.0, "total": 2.5, "masked": 1.5, "tokens_per_second": 1234.0}
    for stream in (Terminal(), io.StringIO()):
        display = TrainingDisplay(stream)
        for step in (1, 2, 9):
            display.show({"step": step, "seconds_left": 3725, **numbers})
        display.show({"step": 9, "steps": 9, "seconds": 1.0, "valid_total": 3.25})
        display.close()
        shown = stream.getvalue()
        lines = [line.rsplit("\r\x1b[K", 1)[-1] for line in shown.rstrip("\n").split("\n")]
        if stream.isatty():
            assert shown.count("\r\x1b[K") == 3  # the second came too soon
            assert lines == ["step 9/9  valid: total 3.250"]
        else:
            assert lines == [
                "step 1/9  total 2.500  masked 1.500  1,234 tokens/s  1:02:05 left",
                "step 9/9  total 2.500  masked 1.500  1,234 tokens/s  1:02:05 left",
                "step 9/9  valid: total 3.250",
            ]


def test_a_loss_of_weight_0_is_not_computed(small_corpus, recipe, tmp_path):
    bare = with_train(recipe, decode_weight=0.0, agree_weight=0.0)
    run = Run(bare, small_corpus.packed, tmp_path, "cpu")
    assert run.train_step().keys() == {"masked", "named", "total", "tokens"}
    assert run.model.decoder.weight.grad is None
    assert run.validate().keys() == {"masked", "named", "total"}
    run.save("last")
    assert Run(bare, small_corpus.packed, tmp_path, "cpu").step == 1


def test_hidden_genes_are_masked_replaced_and_kept_in_the_shares_of_the_recipe(
    small_corpus, recipe
):
    bert = with_train(recipe, random_share=0.1, kept_share=0.1, batch=16)
    batches = Batches(small_corpus.packed, bert)
    shown, genes = [], []
    for step in range(20):
        for view in batches.training(step):
            shown.append(view.tokens.gather(1, view.hidden).flatten())
            genes.append(view.genes.flatten())
            assert (view.tokens == recipe.model.genes).sum() < view.hidden.numel()
    shown, genes = torch.cat(shown), torch.cat(genes)
    masked, kept = shown == recipe.model.genes, shown == genes
    assert masked.float().mean() == pytest.approx(0.8, abs=0.015)
    assert kept.float().mean() == pytest.approx(0.1, abs=0.015)
    other = shown[~masked & ~kept]
    assert len(other.unique()) > 0.9 * len(other)  # of the whole vocabulary
    for view in batches.validation():
        assert (view.tokens.gather(1, view.hidden) == recipe.model.genes).all()


def test_windows_begin_at_multiples_of_the_stride_and_cover_the_sequence(small_corpus, recipe):
    """Nothing is altered, so a view's sequence is a stretch of its profile's."""
    off = dict.fromkeys(
        ("shift_probability", "noise_probability", "thin_probability", "dropout_probability"), 0.0
    )
    windowed = with_train(recipe, window_stride=64, dither=0.0, **off)
    packed = small_corpus.packed
    whole = [packed.sequence(row).tolist() for row in packed.rows("train")]
    places = {}
    for step in range(30):
        for view in Batches(packed, windowed).training(step):
            tokens = view.tokens.scatter(1, view.hidden, view.genes)
            assert tokens.shape[1] == recipe.model.length
            for sequence in tokens.tolist():
                found = [w for w in whole if sequence[0] in w]
                starts = {
                    w.index(sequence[0])
                    for w in found
                    if w[w.index(sequence[0]) :][: len(sequence)] == sequence
                }
                (start,) = starts
                places[start] = places.get(start, 0) + 1
    assert all(start % 64 == 0 for start in places)
    longest = max(map(len, whole))
    assert max(places) > 0.9 * (longest - 128)
    for view in Batches(packed, windowed).validation():
        rows = packed.rows("valid")[: len(view.tokens)]
        if len(rows) == len(view.tokens):
            break
    first = Batches(packed, windowed).validation()[0]
    tokens = first.tokens.scatter(1, first.hidden, first.genes)
    for row, sequence in zip(packed.rows("valid"), tokens.tolist(), strict=False):
        assert packed.sequence(row, 128).tolist() == sequence


def test_every_bundled_recipe_is_valid_and_paper_is_what_was_published():
    recipes = {path.stem: load_recipe(path.stem, 19_195) for path in RECIPES.glob("*.toml")}
    assert recipes.keys() == {"debug", "cpu", "gpu", "paper"}
    model, train = recipes["paper"].model, recipes["paper"].train
    assert (model.layers, model.width, model.heads, model.length) == (12, 768, 12, 512)
    assert (train.mask, train.random_share, train.kept_share) == (0.15, 0.1, 0.1)
    assert (train.window_stride, train.decode_weight, train.agree_weight) == (256, 0, 0)


def test_the_paper_recipe_runs_when_it_is_made_small(small_corpus, tmp_path):
    text = (RECIPES / "paper.toml").read_text()
    for line, smaller in (("layers = 12", "layers = 1"), ("width = 768", "width = 24")):
        assert line in text
        text = text.replace(line, smaller)
    path = tmp_path / "paper.toml"
    path.write_text(text)
    recipe = load_recipe(str(path), len(small_corpus.packed.vocabulary))
    run = Run(with_train(recipe, batch=2), small_corpus.packed, tmp_path / "run", "cpu")
    assert run.train_step()["masked"] > 0


def test_a_checkpoint_from_before_a_key_of_the_recipe_is_resumed(recipe):
    stored = dataclasses.asdict(recipe)
    for key in ("random_share", "kept_share", "window_stride"):
        del stored["train"][key]
    assert stored_recipe(json.dumps(stored)) == recipe
    stored["train"]["from_the_future"] = 1
    assert stored_recipe(json.dumps(stored)) is None


def test_a_corpus_without_a_split_or_with_a_patient_in_both_is_refused(
    small_corpus, recipe, tmp_path
):
    packed = small_corpus.corpus.packed()
    packed.labels["split"] = ["train"] * len(packed)
    with pytest.raises(CorpusError, match="no profile of the split valid"):
        Run(recipe, packed, tmp_path, "cpu")
    packed = small_corpus.corpus.packed()
    train, valid = (packed.rows(split)[0] for split in ("train", "valid"))
    packed.labels["patient"][valid] = packed.labels["patient"][train]
    with pytest.raises(CorpusError, match="1 patients of the corpus are in train and in valid"):
        Run(recipe, packed, tmp_path, "cpu")


def test_a_checkpoint_of_another_vocabulary_is_not_resumed(small_corpus, recipe, tmp_path):
    Run(recipe, small_corpus.packed, tmp_path, "cpu").save("last")
    other = small_corpus.corpus.packed()
    other.vocabulary_sha256 = "0" * 64
    with pytest.raises(TrainingError, match="vocabulary_sha256 differs"):
        Run(recipe, other, tmp_path, "cpu")


def test_a_gradient_that_is_not_finite_changes_no_weight(small_corpus, recipe, tmp_path):
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.model.encoder.gene.weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(TrainingError, match="gradient became"):
        run.train_step()
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, before[name]), name
