"""The processes of one training run: one alone, or those that torchrun started.

Several processes train what one would: each takes its rows of the step's batch, losses are means
over equally many rows and their gradients averages over the processes, so the optimiser sees the
gradient of the whole batch. Two quantities are not means of per-process ones and are put together
first: the number of decoded genes, and the vectors among which a sample looks for its other view.

A collective operation waits for every process. Whatever makes one process leave the loop (an
interrupt, time that is up, a loss that is not finite) is therefore agreed on before anyone acts on
it; a process that dies all the same closes its connections, on which the others stop with an error.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from specformer_encoder.batches import Batch
from specformer_encoder.errors import TrainingError

#: A process waits this long for one that is silent but has not closed its connections.
_PATIENCE = timedelta(minutes=30)


class Ranks:
    """Which process of the run this is, and what all of them do together.

    Parameters
    ----------
    device
        Where this process computes.
    index, count
        Which of how many processes; more than one need an initialised process group.
    """

    def __init__(self, device: torch.device, *, index: int = 0, count: int = 1) -> None:
        self.device, self.index, self.count = device, index, count

    @property
    def first(self) -> bool:
        """Whether this is the process that validates, reports and saves."""
        return self.index == 0

    def share(self, batch: Batch) -> Batch:
        """The rows of a batch that are this process's."""
        if self.count == 1:
            return batch
        fields = (field.name for field in dataclasses.fields(batch))
        return Batch(
            **{name: getattr(batch, name).chunk(self.count)[self.index] for name in fields}
        )

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace float32 tensors by their means over the processes, all in one operation."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._sum(flat)
        flat /= self.count
        for tensor, mean in zip(
            tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True
        ):
            tensor.copy_(mean.view_as(tensor))

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the processes of a scalar, without gradient."""
        result = value.detach().float().clone()
        self.average([result])
        return result

    def anyone(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.count == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def gather(self, rows: Tensor, dim: int) -> Tensor:
        """Put together along `dim` the rows of all processes; gradients flow to one's own."""
        if self.count == 1:
            return rows
        return _Gather.apply(rows, dim, self)  # type: ignore[no-any-return,no-untyped-call]

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors by those of the first process."""
        if self.count == 1:
            return
        try:
            for tensor in tensors:
                dist.broadcast(tensor, 0)
        except RuntimeError as error:
            raise _left_alone(error) from error

    def agree(self, number: int, what: str) -> None:
        """Check that a number is the same in every process.

        Raises
        ------
        TrainingError
            If it is not.
        """
        numbers = self.gather(torch.tensor([number], device=self.device), 0).tolist()
        if len(set(numbers)) > 1:
            raise TrainingError(
                f"The processes of this run disagree on {what}: {numbers}.",
                "Give all of them the same recipe, corpus and --out, on a disk that all of them "
                "see.",
            )

    def close(self) -> None:
        """Leave the process group; only after the last collective operation of all."""
        if self.count > 1:
            dist.destroy_process_group()

    def _sum(self, tensor: Tensor) -> None:
        try:
            dist.all_reduce(tensor)
        except RuntimeError as error:
            raise _left_alone(error) from error


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, dim: int, ranks: Ranks) -> Tensor:
        ctx.dim, ctx.ranks = dim, ranks
        parts = [torch.empty_like(rows) for _ in range(ranks.count)]
        try:
            dist.all_gather(parts, rows.contiguous())
        except RuntimeError as error:
            raise _left_alone(error) from error
        return torch.cat(parts, dim=dim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        # Every process computes one and the same loss of the gathered rows, so the sum of their
        # gradients, of which `average` takes the mean, is `count` times this process's.
        own = grad.chunk(ctx.ranks.count, dim=ctx.dim)[ctx.ranks.index]
        return own * ctx.ranks.count, None, None


def join_ranks(device: torch.device, batch: int) -> Ranks:
    """Find the process's place in the run from the environment that torchrun sets.

    Parameters
    ----------
    device
        Where to compute. Of several processes on CUDA each gets the device of its local rank.
    batch
        Samples a step, which are shared out evenly.

    Raises
    ------
    TrainingError
        If the environment is incomplete, the processes do not meet, or `batch` cannot be shared.
    """
    try:
        index = int(os.environ.get("RANK", "0"))
        count = int(os.environ.get("WORLD_SIZE", "1"))
        local = int(os.environ.get("LOCAL_RANK", "0"))
    except ValueError as error:
        raise TrainingError(
            f"RANK, WORLD_SIZE or LOCAL_RANK is no number ({error}).", "Start it with torchrun."
        ) from error
    if count == 1:
        return Ranks(device)
    if batch % count:
        raise TrainingError(
            f"The recipe's batch of {batch} samples cannot be shared evenly by {count} processes.",
            f"Start a number of processes that divides {batch}, or change batch.",
        )
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        try:
            dist.init_process_group(backend, timeout=_PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"The {count} processes of this run did not meet ({_line(error)}).",
                "Start it with torchrun, which sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.",
            ) from error
    return Ranks(device, index=index, count=count)


def _left_alone(error: RuntimeError) -> TrainingError:
    return TrainingError(
        f"Another process of this run has stopped ({_line(error)}).",
        "See what it says; the same command goes on from the last checkpoint.",
    )


def _line(error: BaseException) -> str:
    return str(error).split("\n", maxsplit=1)[0]
