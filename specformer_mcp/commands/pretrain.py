"""`specformer pretrain`: train an encoder from a recipe; the same command resumes.

Several processes are started by torchrun: `torchrun --nproc-per-node 4 -m specformer_mcp pretrain
RECIPE ...`. Nothing but torch, numpy, pyarrow, safetensors and the standard library is imported.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, TextIO

#: Seconds between two drawings of the line on a terminal, and between two lines of a log.
_REDRAW_S = 0.2
_LINE_EVERY_S = 30.0
#: Processes that prepare batches for a GPU, at most: each holds two steps in shared memory.
_MOST_WORKERS = 8
_SHOWN = ("total", "masked", "named", "decode", "agree")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="debug, cpu, gpu, paper, or a .toml file")
    parser.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="built corpus")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run's folder")
    parser.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    parser.add_argument(
        "--workers",
        type=_not_negative,
        metavar="N",
        help="processes that prepare batches (default: on cuda one a free core, up to 8; "
        "on cpu 0: a thread does it)",
    )
    parser.add_argument(
        "--stop-at", type=_positive, metavar="STEP", help="stop early, to go on later"
    )
    parser.add_argument(
        "--stop-after", type=_minutes, metavar="MINUTES", help="stop early, to go on later"
    )


def run(args: argparse.Namespace) -> int:
    """Train or go on training."""
    # Threads that wait for each other must sleep: spinning, which is the default, takes a shared
    # machine several times the CPU time. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from specformer_encoder.packed import PackedCorpus, part_of
    from specformer_encoder.pretrain import Run, rank_baseline
    from specformer_encoder.recipe import load_recipe

    corpus = PackedCorpus(part_of(args.corpus, "packed.arrow"))
    recipe = load_recipe(args.recipe, len(corpus.vocabulary))
    workers = _workers(args.device) if args.workers is None else args.workers
    training = Run(recipe, corpus, args.out, args.device, workers=workers)
    until = {
        "stop_at": args.stop_at,
        "stop_after": None if args.stop_after is None else 60 * args.stop_after,
    }
    if not training.ranks.first:
        training.train(lambda _: None, **until)
        training.ranks.close()
        return 0
    print(
        f"recipe {recipe.name}: step {training.step} of {recipe.train.steps}; the most frequent "
        f"gene at each rank names {rank_baseline(corpus, recipe.model.length):.1%} of the genes",
        file=sys.stderr,
    )
    display = TrainingDisplay()
    try:
        with Metrics(args.out, training.step) as metrics:

            def report(numbers: dict[str, Any]) -> None:
                metrics.write(numbers)
                display.show(numbers)

            training.train(report, **until)
    finally:
        display.close()
    training.ranks.close()
    done = training.step >= recipe.train.steps
    best = (
        f"best validation loss {training.best:.4f}" if training.validated else "not validated yet"
    )
    print(
        f"{'finished' if done else 'stopped'} at step {training.step} after "
        f"{training.seconds / 60:.0f} minutes; {best}",
        file=sys.stderr,
    )
    return 0


class Metrics:
    """`metrics.jsonl` in the run's folder, and TensorBoard events where it is installed.

    Parameters
    ----------
    folder
        The run's folder.
    step
        The step that the run goes on from. Lines of later steps come from a run that was killed
        after its last checkpoint; those steps are trained again, so their lines are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / "metrics.jsonl"
        try:
            self._drop_after(step)
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._not_written(error) from error
        self._board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(OSError):  # a full disk, which `write` has told already
            self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, numbers: dict[str, Any]) -> None:
        """Add one line.

        Raises
        ------
        TrainingError
            If the disk does not take it.
        """
        try:
            self._file.write(json.dumps(numbers) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._not_written(error) from error
        if self._board is not None:
            for name in numbers.keys() - {"step", "steps", "seconds_left"}:
                self._board.add_scalar(name, numbers[name], numbers["step"])

    def _drop_after(self, step: int) -> None:
        if not self._path.exists():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if _step_of(line) <= step]
        if kept != lines:
            partial = self._path.with_suffix(".partial")
            partial.write_text("".join(kept), encoding="utf-8")
            partial.replace(self._path)

    def _not_written(self, error: OSError) -> Exception:
        from specformer_encoder.errors import TrainingError

        return TrainingError(
            f"{self._path} could not be written ({error}).",
            "The last checkpoint is untouched; make room and start again.",
        )


def _step_of(line: str) -> float:
    """The step of a line; a line that a kill tore counts as later than any."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


class TrainingDisplay:
    """How far training is: one line in place on a terminal, a line now and then elsewhere.

    Parameters
    ----------
    stream
        Where to; standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._in_place = self._stream.isatty()
        self._drawn_at = float("-inf")
        self._open = False

    def show(self, numbers: dict[str, Any]) -> None:
        """Show the numbers of a step, unless some were shown a moment ago; validations always."""
        now = time.monotonic()
        validation = "valid_total" in numbers
        pause = _REDRAW_S if self._in_place else _LINE_EVERY_S
        if not validation and now - self._drawn_at < pause and numbers["step"] < numbers["steps"]:
            return
        if not validation:
            self._drawn_at = now
        text = _described(numbers, "valid_" if validation else "")
        if not self._in_place:
            print(text, file=self._stream, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        end = "\n" if validation else ""
        print(f"\r\x1b[K{text[:width]}", end=end, file=self._stream, flush=True)
        self._open = not validation

    def close(self) -> None:
        """End the line that is drawn in place."""
        if self._open:
            print(file=self._stream, flush=True)
            self._open = False


def _described(numbers: dict[str, Any], prefix: str) -> str:
    losses = [f"{name} {numbers[prefix + name]:.3f}" for name in _SHOWN if prefix + name in numbers]
    parts = [
        f"step {numbers['step']}/{numbers['steps']}",
        ("valid: " * bool(prefix)) + "  ".join(losses),
    ]
    if not prefix:
        left = round(numbers["seconds_left"])
        parts.append(f"{numbers['tokens_per_second']:,.0f} tokens/s")
        parts.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left")
    return "  ".join(parts)


def _workers(device: str) -> int:
    """Processes that prepare batches, where none are asked for."""
    if not device.startswith("cuda"):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = (cores or 2) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1
    return min(max(1, free), _MOST_WORKERS)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be below 0")
    return number


def _minutes(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("must be a number of minutes")
    return number
