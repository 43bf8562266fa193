"""Pretraining: which gene stood at a hidden rank, and what the whole profile looks like.

Three losses on the same pass. Masked gene identity: some genes of the sequence are hidden, and at
each hidden rank the network names the gene among those that the profile measures. Whole-profile
decoding: from the sample's vector alone, a linear layer predicts the standardised rank of every
measured gene of the undropped profile, which is what makes that vector worth having. Agreement:
the vectors of two views of a sample find each other among the batch (InfoNCE; van den Oord et
al., arXiv:1807.03748), so that unit, pipeline and missing genes matter less. No expression value
is ever predicted.

A run is a pure function of (recipe, corpus): batches depend on the step alone, and a checkpoint
holds weights, optimiser state and step in one file that is renamed into place, so an interrupted
run that is started again goes on as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from specformer_encoder.batches import Batch, Batches
from specformer_encoder.errors import TrainingError
from specformer_encoder.masked_loss import masked_gene_loss
from specformer_encoder.model import SpecFormer
from specformer_encoder.packed import PackedCorpus
from specformer_encoder.recipe import Recipe
from specformer_encoder.warm_start import warm_start

#: An interruption loses at most this many seconds of work.
CHECKPOINT_SECONDS = 60.0
_GRADIENT_NORM = 1.0
_REPORT_EVERY = 20

Report = Callable[[dict[str, Any]], None]


class Pretrainer(nn.Module):
    """The encoder with what only training needs: the whole-profile decoder."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.encoder = SpecFormer(recipe.model)
        self.decoder = nn.Linear(recipe.model.width, recipe.model.genes)
        # From zero: a random decoder would pull the sample's vector about before it has learnt.
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)

    def losses(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Losses of one view and the (B, D) sample vectors.

        `masked` is in nats a gene, `named` the share of hidden genes that is named, `decode` the
        squared error of the standardised ranks (1 = predicting every gene's mean).
        """
        states = self.encoder.states(batch.tokens)  # (B, T, D)
        B, M = batch.hidden.shape
        D = states.shape[-1]
        # Hidden positions are gathered before the output layer: V is large, T - M would be waste.
        at_hidden = states.gather(1, batch.hidden[..., None].expand(B, M, D))  # (B, M, D)
        masked, named = masked_gene_loss(
            at_hidden,
            self.encoder.output_vectors(),
            self.encoder.gene_bias,
            batch.genes,
            batch.measured,
        )
        pooled = self.encoder.pool(states)
        decoded = self.decoder(pooled).float()
        error = (decoded - batch.target).square() * batch.decodable
        decode = error.sum() / batch.decodable.sum().clamp(min=1)
        return {"masked": masked, "named": named, "decode": decode}, pooled

    def pair_losses(self, one: Batch, other: Batch) -> dict[str, Tensor]:
        """Mean losses of two views, and `agree`: nats to find a sample's other view."""
        first, u = self.losses(one)
        second, v = self.losses(other)
        losses = {name: (first[name] + second[name]) / 2 for name in first}
        losses["agree"] = agreement(u, v, self.recipe.train.temperature)
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The loss that is minimised."""
        train = self.recipe.train
        total = losses["masked"] + train.decode_weight * losses["decode"]
        if "agree" in losses:
            total = total + train.agree_weight * losses["agree"]
        return total


def agreement(u: Tensor, v: Tensor, temperature: float) -> Tensor:
    """InfoNCE between (B, D) vectors of two views, both ways; 0 when every view finds its other.

    Vectors are centred on the mean of the batch first, as they are on the training mean in use.
    """
    u, v = u.float(), v.float()
    mean = (u.mean(dim=0) + v.mean(dim=0)) / 2
    u, v = (functional.normalize(x - mean, dim=1) for x in (u, v))
    similarity = u @ v.T / temperature  # (B, B)
    own = torch.arange(len(u), device=u.device)
    there = functional.cross_entropy(similarity, own)
    back = functional.cross_entropy(similarity.T, own)
    return (there + back) / 2


class Run:
    """One training run in a folder: `last.safetensors`, `best.safetensors`, `metrics.jsonl`.

    Parameters
    ----------
    recipe
        What to train and how.
    corpus
        The packed corpus.
    out
        The run's folder; a run that is there already is resumed.
    device
        Where to compute.
    """

    def __init__(self, recipe: Recipe, corpus: PackedCorpus, out: Path, device: str) -> None:
        self.recipe, self.corpus, self.out = recipe, corpus, out
        self.device = usable_device(device)
        if self.device.type == "cpu":
            keep_memory()
        self.batches = Batches(corpus, recipe)
        torch.manual_seed(recipe.train.seed)
        self.model = Pretrainer(recipe).to(self.device)
        self.optimizer = self._optimizer()
        self.step = 0
        self.best = math.inf
        self.seconds = 0.0
        out.mkdir(parents=True, exist_ok=True)
        if (out / "last.safetensors").exists():
            self._resume()
        elif recipe.train.warm_start:
            warm_start(self.model.encoder, corpus, recipe.train.seed)

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
        """One optimiser step, on `views` where this step's are at hand already."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        one, other = (_to(view, self.device) for view in views or self.batches.training(self.step))
        with self._autocast():
            losses = self.model.pair_losses(one, other)
        total = self.model.total(losses)
        if not torch.isfinite(total):
            raise TrainingError(
                f"The loss became {float(total.detach())} at step {self.step}.",
                f"The last good checkpoint is in {self.out}; lower learning_rate in the recipe and "
                "train into another --out.",
            )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), _GRADIENT_NORM)
        self.optimizer.step()
        self.step += 1
        return {name: float(value.detach()) for name, value in losses.items()} | {
            "tokens": float(one.tokens.numel() + other.tokens.numel())
        }

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Means over the validation patients, with 15 % of the genes hidden."""
        sums: dict[str, float] = {}
        batches = self.batches.validation()
        with self._autocast():
            for batch in batches:
                losses, _ = self.model.losses(_to(batch, self.device))
                losses["total"] = self.model.total(losses)
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + float(value) / len(batches)
        return sums

    def save(self, name: str) -> None:
        """Write a checkpoint whole or not at all."""
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        names = [name for name, _ in self.model.named_parameters()]
        order = [p for group in self.optimizer.param_groups for p in group["params"]]
        name_of = {id(p): n for n, p in zip(names, self.model.parameters(), strict=True)}
        for parameter in order:
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{name_of[id(parameter)]}.{key}"] = value
        metadata = {
            "step": str(self.step),
            "best": repr(self.best),
            "seconds": repr(self.seconds),
            "recipe": json.dumps(dataclasses.asdict(self.recipe)),
            "vocabulary_sha256": self.corpus.vocabulary_sha256,
            "idf_sha256": self.corpus.idf_sha256,
        }
        partial = self.out / f"{name}.partial-{os.getpid()}"
        try:
            save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, partial, metadata)
            with partial.open("rb") as handle:
                os.fsync(handle.fileno())
            partial.replace(self.out / f"{name}.safetensors")
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"The checkpoint could not be written to {self.out} ({error}).",
                "The checkpoint before it is untouched; make room and start again.",
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    def _resume(self) -> None:
        path = self.out / "last.safetensors"
        with open_checkpoint(path) as file:
            metadata = file.metadata()
            if json.loads(metadata["recipe"]) != dataclasses.asdict(self.recipe):
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
        self.model.load_state_dict(_below(tensors, "model."))
        for name, parameter in self.model.named_parameters():
            state = _below(tensors, f"adam.{name}.")
            if state:
                self.optimizer.state[parameter] = {
                    key: value.to(self.device) for key, value in state.items()
                }
        self.step = int(metadata["step"])
        self.best = float(metadata["best"])
        self.seconds = float(metadata["seconds"])

    def train(self, report: Report, *, stop_at: int | None = None) -> None:
        """Train to the recipe's last step, or to `stop_at`; an interrupt saves and returns.

        Parameters
        ----------
        report
            Called with a dictionary of numbers every few steps and after each validation.
        stop_at
            Stop early, as an interrupt would; the schedule stays that of the whole recipe.
        """
        train = self.recipe.train
        last = min(train.steps, stop_at or train.steps)
        started = saved = time.monotonic()
        before, tokens = self.seconds, 0.0
        ahead = contextlib.closing(self.batches.prefetch(self.step, last))
        with _interrupts() as interrupted, ahead as pairs:
            for views in pairs:
                numbers = self.train_step(views)
                tokens += numbers.pop("tokens")
                now = time.monotonic()
                self.seconds = before + now - started
                if self.step % _REPORT_EVERY == 0 or self.step == last:
                    report(
                        {"step": self.step, "steps": train.steps, "seconds": self.seconds}
                        | numbers
                        | {"tokens_per_second": tokens / (now - started)}
                    )
                if self.step % train.validate_every == 0 or self.step == train.steps:
                    valid = self.validate()
                    report(
                        {"step": self.step, "steps": train.steps, "seconds": self.seconds}
                        | {f"valid_{name}": value for name, value in valid.items()}
                    )
                    if valid["total"] < self.best:
                        self.best = valid["total"]
                        self.save("best")
                if now - saved > CHECKPOINT_SECONDS:
                    self.save("last")
                    saved = time.monotonic()
                if interrupted():
                    break
        self.save("last")


def open_checkpoint(path: Path) -> Any:
    """Open a checkpoint for reading.

    Raises
    ------
    TrainingError
        If the file is damaged.
    """
    try:
        return safe_open(path, "pt")
    except SafetensorError as error:
        raise TrainingError(
            f"{path} is not a whole checkpoint ({error}).", "Remove it and train again."
        ) from error


def usable_device(name: str) -> torch.device:
    """The torch device of that name.

    Raises
    ------
    TrainingError
        If torch does not know it or cannot compute on it here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise TrainingError(
            f"torch cannot compute on {name!r} here ({reason}).",
            "Use --device cpu, or cuda with a build of torch that has it.",
        ) from error
    return device


def keep_memory() -> None:
    """Have glibc keep freed memory for the next step instead of giving it back to the system.

    A step's activations are blocks of tens of megabytes; by default each is mapped anew, and the
    system clears its pages one fault at a time, which takes longer than the arithmetic on them.
    Elsewhere than on glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    # <malloc.h>: M_TRIM_THRESHOLD = -1, M_MMAP_MAX = -4, M_ARENA_MAX = -8. The heaps that threads
    # would have of their own are given back all the same.
    for parameter, value in ((-1, 2**31 - 1), (-4, 0), (-8, 1)):
        mallopt(parameter, value)


def rank_baseline(corpus: PackedCorpus, length: int) -> float:
    """Share of validation genes named by "the most frequent training gene at this rank"."""
    counts = np.zeros((length, len(corpus.vocabulary)), np.int32)
    for row in corpus.rows("train"):
        sequence = corpus.sequence(row)[:length]
        counts[np.arange(len(sequence)), sequence] += 1
    guess = counts.argmax(axis=1)
    hits = [
        sequence == guess[: len(sequence)]
        for sequence in (corpus.sequence(row)[:length] for row in corpus.rows("valid"))
    ]
    return float(np.concatenate(hits).mean())


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _to(batch: Batch, device: torch.device) -> Batch:
    moved = {f.name: getattr(batch, f.name).to(device) for f in dataclasses.fields(batch)}
    return Batch(**moved)


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
