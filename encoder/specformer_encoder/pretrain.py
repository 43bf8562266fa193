"""Pretraining: a run that is a pure function of (recipe, corpus).

What is minimised stands in `objectives`: masked gene identity, whole-profile decoding, agreement
of two views of a sample. AdamW on float32 weights, a linear warm-up and a cosine, gradients clipped
to norm 1, products in bfloat16 where the recipe says so; the checkpoint that counts is the one with
the lowest loss on the validation patients.

Batches depend on the step alone, and a checkpoint holds weights, optimiser state and step in one
file that is renamed into place, so an interrupted run that is started again goes on as if nothing
had happened. Several processes (`ranks`) share each batch and train what one would, to rounding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from specformer_encoder.batch_workers import prepare
from specformer_encoder.batches import Batch, Batches
from specformer_encoder.checkpoints import below, open_checkpoint, write_checkpoint
from specformer_encoder.devices import keep_memory, to_device, usable_device
from specformer_encoder.errors import TrainingError
from specformer_encoder.objectives import Pretrainer, agreement
from specformer_encoder.packed import PackedCorpus
from specformer_encoder.ranks import join_ranks
from specformer_encoder.recipe import Recipe, stored_recipe
from specformer_encoder.training_corpus import check_split, rank_baseline
from specformer_encoder.warm_start import warm_start

__all__ = ["Pretrainer", "Run", "agreement", "open_checkpoint", "rank_baseline"]

#: Seconds between checkpoints. With the step under way, a kill loses less than a minute.
CHECKPOINT_SECONDS = 40.0
_GRADIENT_NORM = 1.0

Report = Callable[[dict[str, Any]], None]


class Run:
    """One training run in a folder: `last.safetensors` and `best.safetensors`.

    Parameters
    ----------
    recipe
        What to train and how.
    corpus
        The packed corpus.
    out
        The run's folder; a run that is there already is resumed.
    device
        Where to compute. Under torchrun `cuda` is the device of the process's local rank.
    workers
        Processes that prepare batches; 0 leaves it to a thread, which keeps up with a CPU.

    Raises
    ------
    TrainingError, CorpusError
        If the run cannot start or be resumed.
    """

    def __init__(
        self, recipe: Recipe, corpus: PackedCorpus, out: Path, device: str, *, workers: int = 0
    ) -> None:
        check_split(corpus)
        self.recipe, self.corpus, self.out, self.workers = recipe, corpus, out, workers
        self.ranks = join_ranks(usable_device(device), recipe.train.batch)
        self.device = self.ranks.device
        if self.device.type == "cpu":
            keep_memory()
        self.batches = Batches(corpus, recipe)
        torch.manual_seed(recipe.train.seed)
        self.model = Pretrainer(recipe).to(self.device)
        self.optimizer = self._optimizer()
        self.step = 0
        self.validated = 0
        self.best = math.inf
        self.seconds = 0.0
        _make_folder(out)
        if (out / "last.safetensors").exists():
            self._resume()
        elif recipe.train.warm_start:
            warm_start(self.model.encoder, corpus, recipe.train.seed)
        self.ranks.agree(self.step, "the step to go on from")
        self.ranks.spread([parameter.data for parameter in self.model.parameters()])

    def _optimizer(self) -> torch.optim.AdamW:
        train = self.recipe.train
        decayed: list[nn.Parameter] = []
        kept: list[nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            inside = parameter.ndim == 2 and "blocks" in name
            (decayed if inside else kept).append(parameter)
        groups = [
            {"params": decayed, "weight_decay": train.weight_decay},
            {"params": kept, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=train.learning_rate, betas=(0.9, 0.98), fused=True)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine to a tenth of the highest rate."""
        train = self.recipe.train
        if step < train.warmup:
            return train.learning_rate * (step + 1) / train.warmup
        done = (step - train.warmup) / max(1, train.steps - train.warmup)
        return train.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))

    def _autocast(self) -> Any:
        if not self.recipe.train.bfloat16:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def train_step(self, views: tuple[Batch, Batch] | None = None) -> dict[str, float]:
        """One optimiser step, on `views` where this step's are at hand already.

        Returns
        -------
        The losses of the whole batch and the `tokens` that were read.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        views = views or self.batches.training(self.step)
        one, other = (to_device(self.ranks.share(view), self.device) for view in views)
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            losses = self.model.pair_losses(one, other, self.ranks)
        losses["total"] = self.model.total(losses)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        means = torch.stack([value.detach() for value in losses.values()])
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.ranks.average([*gradients, means])
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), _GRADIENT_NORM)
        # Read from the device once a step; every process sees the same numbers and stops alike.
        *numbers, length = torch.cat([means, norm[None]]).tolist()
        self._check_finite(numbers[-1], "loss")
        self._check_finite(length, "gradient")
        self.optimizer.step()
        self.step += 1
        tokens = float(sum(view.tokens.numel() for view in views))
        return dict(zip(losses, numbers, strict=True)) | {"tokens": tokens}

    def _check_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"The {what} became {value} at step {self.step}.",
                f"The last good checkpoint is in {self.out}; lower learning_rate in the recipe and "
                "train into another --out.",
            )

    @torch.no_grad()
    def validate(self, unwanted: Callable[[], bool] = lambda: False) -> dict[str, float]:
        """Means over the validation patients, with 15 % of the genes hidden.

        Empty if it became unwanted on the way.
        """
        sums: dict[str, float] = {}
        batches = self.batches.validation()
        for batch in batches:
            if unwanted():
                return {}
            with self._autocast():
                losses, _ = self.model.losses(to_device(batch, self.device))
                losses["total"] = self.model.total(losses)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(batches)
        return sums

    def save(self, name: str) -> None:
        """Write a checkpoint whole or not at all; the first process does, for all."""
        if not self.ranks.first:
            return
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        for key, parameter in self.model.named_parameters():
            for what, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{key}.{what}"] = value
        metadata = {
            "step": str(self.step),
            "validated": str(self.validated),
            "best": repr(self.best),
            "seconds": repr(self.seconds),
            "recipe": json.dumps(dataclasses.asdict(self.recipe)),
            "vocabulary_sha256": self.corpus.vocabulary_sha256,
            "idf_sha256": self.corpus.idf_sha256,
        }
        write_checkpoint(self.out / f"{name}.safetensors", tensors, metadata=metadata)

    def _resume(self) -> None:
        path = self.out / "last.safetensors"
        with open_checkpoint(path) as file:
            metadata = file.metadata()
            if stored_recipe(metadata["recipe"]) != self.recipe:
                raise TrainingError(
                    f"{path} was trained with another recipe.", "Use another --out folder."
                )
            for what in ("vocabulary_sha256", "idf_sha256"):
                if metadata[what] != getattr(self.corpus, what):
                    raise TrainingError(
                        f"{path} was trained on another corpus (its {what} differs).",
                        "Use that corpus, or another --out folder.",
                    )
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.model.load_state_dict(below(tensors, "model."))
        for name, parameter in self.model.named_parameters():
            state = below(tensors, f"adam.{name}.")
            if state:
                self.optimizer.state[parameter] = {
                    key: value.to(self.device) for key, value in state.items()
                }
        self.step = int(metadata["step"])
        self.validated = int(metadata.get("validated", self.step))
        self.best = float(metadata["best"])
        self.seconds = float(metadata["seconds"])

    def train(
        self, report: Report, *, stop_at: int | None = None, stop_after: float | None = None
    ) -> None:
        """Train to the recipe's last step; an interrupt saves and returns.

        Parameters
        ----------
        report
            Called with a dictionary of numbers after each step and after each validation, in the
            first process only.
        stop_at, stop_after
            Stop early, at that step or after that many seconds, as an interrupt would; the
            schedule stays that of the whole recipe.
        """
        train = self.recipe.train
        last = min(train.steps, stop_at or train.steps)
        started = saved = time.monotonic()
        before, tokens, first_step = self.seconds, 0.0, self.step

        def time_is_up() -> bool:
            return stop_after is not None and time.monotonic() - started >= stop_after

        ahead = contextlib.closing(prepare(self.batches, self.step, last, workers=self.workers))
        with _interrupts() as interrupted, ahead as pairs:
            self._validate_if_due(report, interrupted)  # it was cut short
            for views in pairs:
                numbers = self.train_step(views)
                tokens += numbers.pop("tokens")
                here = time.monotonic() - started
                self.seconds = before + here
                if self.ranks.first:
                    left = here / (self.step - first_step) * (train.steps - self.step)
                    report(
                        self._progress()
                        | numbers
                        | {"tokens_per_second": tokens / here, "seconds_left": left}
                    )
                if self._validation_due():
                    # Validation takes a while, and what was trained before it must not hang on it.
                    self.save("last")
                    self._validate_if_due(report, interrupted)
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save("last")
                    saved = time.monotonic()
                if self.ranks.anyone(interrupted() or time_is_up()):
                    break
        self.save("last")

    def _progress(self) -> dict[str, Any]:
        return {"step": self.step, "steps": self.recipe.train.steps, "seconds": self.seconds}

    def _validation_due(self) -> bool:
        train = self.recipe.train
        due = self.step % train.validate_every == 0 or self.step == train.steps
        return self.ranks.first and due and self.step != self.validated

    def _validate_if_due(self, report: Report, unwanted: Callable[[], bool]) -> None:
        if not self._validation_due():
            return
        valid = self.validate(unwanted)
        if not valid:
            return
        self.validated = self.step
        report(self._progress() | {f"valid_{name}": value for name, value in valid.items()})
        if valid["total"] < self.best:
            self.best = valid["total"]
            self.save("best")


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"The folder {out} cannot be made ({error.strerror}).", "Give another --out."
        ) from error


@contextlib.contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into a flag, so that a step is never torn."""
    caught: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        caught.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
