"""`specformer pretrain`: short runs, metrics, the display, what it imports."""

from __future__ import annotations

import io
import json
import resource
import textwrap

import pytest
from training_support import assert_same_bits, start_process

from specformer_encoder.errors import TrainingError
from specformer_mcp.cli import main
from specformer_mcp.commands.pretrain import Metrics, TrainingDisplay


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


def test_metrics_that_the_disk_does_not_take_stop_with_the_reason(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow past 2 kB, which is what a full disk or a quota looks like to a writer.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))

    def write_many():
        with Metrics(tmp_path, 0) as metrics:
            for step in range(1000):
                metrics.write({"step": step})

    try:
        with pytest.raises(TrainingError, match=r"metrics\.jsonl could not be written"):
            write_many()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with Metrics(tmp_path, 10):
        pass
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(11))


def test_a_folder_that_cannot_be_made_is_named(small_corpus, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = ["pretrain", "debug", "--corpus", str(small_corpus.folder)]
    assert main([*words, "--out", str(tmp_path / "file" / "run")]) == 1
    assert "cannot be made" in capsys.readouterr().err


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
    process = start_process(
        ["-c", textwrap.dedent(code), str(small_corpus.folder), str(tmp_path / "run")]
    )
    _, said = process.communicate(timeout=240)
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
