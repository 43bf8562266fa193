"""How much of the machine's matrix peak a training step reaches, and where the rest goes.

Run with ``python benchmarks/training_step.py --corpus CORPUS [--recipe cpu]``; ``--count`` only
prints the arithmetic of a whole run of the recipe. Best of a few rounds, all in one process.

The peak is that of a large square product in bfloat16 on all cores. A step's useful arithmetic is
its matrix products, forward and backward, counted from the shapes and checked against torch's own
counter; what the backward pass computes again (the attention's weights) is not useful and left out.
The step is timed with its batches at hand. Then its parts are timed alone, on the shapes of the
step, each beside the time that its products alone take on those shapes: what is between the two is
element-wise work, and what is between the products and the peak is lost to their shapes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Threads that wait for others must sleep, not spin: on a shared machine that takes them the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from specformer_encoder.batches import Batch
from specformer_encoder.cores import on_cores
from specformer_encoder.layers import attention_layer, feed_forward_layer
from specformer_encoder.masked_loss import masked_gene_loss
from specformer_encoder.objectives import agreement
from specformer_encoder.packed import PackedCorpus, part_of
from specformer_encoder.pretrain import Run
from specformer_encoder.recipe import Recipe, load_recipe

LARGE = 4096
#: Profiles that the layers work through at once.
FEW = 2
#: Times that a product is made between two looks at the clock.
REPEATS = 4


@dataclass(frozen=True)
class Product:
    """`times` matrix products of `of` pairs of (m, k) and (k, n) matrices each.

    Attributes
    ----------
    on_one_core
        Whether each core makes its own, as the layers do, or all share one, as torch does.
    again
        Made a second time in the backward pass: time, but no useful arithmetic.
    """

    m: int
    k: int
    n: int
    times: int
    of: int = 1
    on_one_core: bool = True
    again: bool = False

    @property
    def flops(self) -> int:
        """Floating-point operations of all of them."""
        return 2 * self.m * self.k * self.n * self.of * self.times

    def seconds(self, dtype: torch.dtype, rounds: int) -> float:
        """Wall seconds that all of them take and nothing else."""
        left, right = (
            torch.randn(self.of, *shape, dtype=dtype)
            for shape in ((self.m, self.k), (self.k, self.n))
        )
        cores = torch.get_num_threads() if self.on_one_core else 1

        def one(_parts: list[int]) -> None:
            for _ in range(REPEATS):
                torch.bmm(left, right)

        def turn() -> None:
            if self.on_one_core:
                on_cores(one, range(cores))
            else:
                one([])

        return best(turn, rounds) / REPEATS * self.times / cores


def products(recipe: Recipe, B: int, T: int, M: int) -> dict[str, list[Product]]:
    """The products of one view, forward and backward, by part of the step."""
    model, train = recipe.model, recipe.train
    D, H, L, V = model.width, model.heads, model.layers, model.genes
    F, d = model.expansion * D, D // H
    few = min(FEW, B)
    rows, n = few * T, L * B // few

    def linear(m: int, k: int, n_out: int, times: int, *, on_one_core: bool) -> list[Product]:
        """Forward, gradient of the input, gradient of the weights."""
        shapes = ((m, k, n_out), (m, n_out, k), (n_out, m, k))
        return [Product(*shape, times, on_one_core=on_one_core) for shape in shapes]

    scores, values = (T, d, T), (T, T, d)
    attention = [Product(*scores, n, few * H, again=True)]
    attention += [Product(*shape, n, few * H) for shape in [scores] * 2 + [values] * 4]
    attention += linear(rows, D, 3 * D, n, on_one_core=True)
    attention += linear(rows, D, D, n, on_one_core=True)
    feed_forward = linear(rows, D, F, n, on_one_core=True)
    feed_forward += linear(rows, F, D, n, on_one_core=True)
    output = [
        Product(M, D, V, B),
        Product(B * M, V, D, 1, on_one_core=False),
        Product(V, B * M, D, 1, on_one_core=False),
    ]
    vector = linear(B * T, D, H, 1, on_one_core=False)  # pooling: scores, weighted sums
    vector += [Product(*s, 1, B * H, on_one_core=False) for s in ((1, T, d), (1, d, T), (T, 1, d))]
    if train.decode_weight > 0:
        vector += linear(B, D, V, 1, on_one_core=False)
    if train.agree_weight > 0:  # one pair of views: half of it a view
        vector += [Product(B, D, B, 1, on_one_core=False)]
        vector += [Product(B, B, D, 1, on_one_core=False)]
    return {
        "attention": attention,
        "feed-forward": feed_forward,
        "output layer": output,
        "sample's vector": vector,
    }


def useful(parts: dict[str, list[Product]]) -> int:
    """Floating-point operations that are not made a second time."""
    return sum(p.flops for part in parts.values() for p in part if not p.again)


def best(work: Callable[[], object], rounds: int) -> float:
    """Least wall seconds of a call, after one that does not count."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def check_count(run: Run, views: tuple[Batch, Batch], parts: dict[str, list[Product]]) -> None:
    """Compare the count with torch's own, on one thread, which it sees whole.

    Torch does not count the products of the fused attention on a CPU, the first two of them, and
    it counts 32 columns more in one product of the output layer, from which the bias's gradient
    comes.
    """
    model = run.recipe.model
    ours = sum(p.flops for some in parts.values() for p in some)
    for view in views:
        B, T = view.tokens.shape
        ours -= 4 * B * T * T * model.width * model.layers
        ours += 2 * view.hidden.numel() * model.genes * 32
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with FlopCounterMode(display=False) as counter:
        run.train_step(views)
    torch.set_num_threads(threads)
    theirs = int(counter.get_total_flops())
    print(
        f"products of a step, of which torch sees all but a few: {ours:.5g}, by torch {theirs:.5g}"
    )
    assert abs(ours - theirs) < 0.005 * theirs


def part_times(run: Run, views: tuple[Batch, Batch], rounds: int) -> dict[str, float]:
    """Wall seconds of the parts of a step, forward and backward, of both views."""
    model, encoder, recipe = run.model, run.model.encoder, run.recipe
    dtype = torch.bfloat16 if recipe.train.bfloat16 else torch.float32
    totals = dict.fromkeys(("attention", "feed-forward", "output layer", "sample's vector"), 0.0)
    for view in views:
        B, T = view.tokens.shape
        M, D = view.hidden.shape[1], recipe.model.width
        x = torch.randn(B, T, D).to(dtype).requires_grad_()
        hidden = torch.randn(B, M, D).to(dtype).requires_grad_()
        block = encoder.blocks[0]
        weights = [w.weight for w in (block.qkv, block.attention_out, block.up, block.down)]

        def through(layer: Callable[[], Tensor], like: Tensor = x) -> None:
            layer().backward(torch.ones_like(like))

        def output(view: Batch = view, hidden: Tensor = hidden) -> None:
            loss, _ = masked_gene_loss(
                hidden, encoder.output_vectors(), encoder.gene_bias, view.genes, view.measured
            )
            loss.backward()  # type: ignore[no-untyped-call]

        def vector(view: Batch = view, x: Tensor = x) -> None:
            loss = torch.zeros(())
            with run._autocast():
                pooled = encoder.pool(x)
                if recipe.train.decode_weight > 0:
                    error = (model.decoder(pooled).float() - view.target).square()
                    loss = (error * view.decodable).sum() / view.decodable.sum().clamp(min=1)
                if recipe.train.agree_weight > 0:
                    loss = loss + agreement(pooled, pooled, recipe.train.temperature) / 2
            (loss + 0 * pooled.float().sum()).backward()  # type: ignore[no-untyped-call]

        heads, L = recipe.model.heads, recipe.model.layers
        totals["attention"] += L * best(
            lambda w=weights, x=x, h=heads: through(lambda: attention_layer(x, w[0], w[1], h), x),
            rounds,
        )
        totals["feed-forward"] += L * best(
            lambda w=weights, x=x: through(lambda: feed_forward_layer(x, w[2], w[3]), x), rounds
        )
        totals["output layer"] += best(output, rounds)
        totals["sample's vector"] += best(vector, rounds)

    def optimise() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        run.optimizer.step()

    totals["clipping, AdamW"] = best(optimise, rounds)
    return totals


def show_count(recipe: Recipe) -> None:
    """Print tokens and products of a whole run whose views all have full length."""
    T, B, train = recipe.model.length, recipe.train.batch, recipe.train
    parts = products(recipe, B, T, max(1, round(train.mask * T)))
    views = 2 * train.steps
    print(f"recipe {recipe.name}: {views * B * T:.3g} tokens, {views * useful(parts):.3g} FLOP")
    inner = sum(p.flops for p in parts["attention"] if not p.again and p.of > 1)
    blocks = useful({k: parts[k] for k in ("attention", "feed-forward")}) - inner
    rows = {"blocks' linear layers": blocks, "attention": inner}
    rows |= {name: useful({name: parts[name]}) for name in ("output layer", "sample's vector")}
    for name, flops in rows.items():
        print(f"  {name:<22} {views * flops:.3g}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="built corpus")
    parser.add_argument("--recipe", default="cpu", help="name or file (default: cpu)")
    parser.add_argument("--rounds", type=int, default=3, help="best of (default: 3)")
    parser.add_argument("--count", action="store_true", help="only count; any vocabulary")
    args = parser.parse_args()
    if args.count or args.corpus is None:
        genes = 19_195
        if args.corpus is not None:
            genes = len(PackedCorpus(part_of(args.corpus, "packed.arrow")).vocabulary)
        show_count(load_recipe(args.recipe, genes))
        return
    corpus = PackedCorpus(part_of(args.corpus, "packed.arrow"))
    recipe = load_recipe(args.recipe, len(corpus.vocabulary))
    dtype = torch.bfloat16 if recipe.train.bfloat16 else torch.float32
    square = torch.randn(LARGE, LARGE).to(dtype)
    peak = 2 * LARGE**3 / best(lambda: square @ square, 2 * args.rounds)
    print(
        f"{torch.get_num_threads()} threads, {str(dtype).removeprefix('torch.')}; peak "
        f"{peak / 1e12:.2f} TFLOP/s ({LARGE} × {LARGE} product)"
    )
    with tempfile.TemporaryDirectory() as folder:
        run = Run(recipe, corpus, Path(folder), "cpu")
        views = next(v for v in map(run.batches.training, range(50)) if full(v, recipe))
        shapes = [(*view.tokens.shape, view.hidden.shape[1]) for view in views]
        parts: dict[str, list[Product]] = {}
        for shape in shapes:
            for name, some in products(recipe, *shape).items():
                parts.setdefault(name, []).extend(some)
        check_count(run, views, parts)
        step = best(lambda: run.train_step(views), args.rounds)
        times = part_times(run, views, args.rounds)
        draw = best(lambda: run.batches.training(run.step), 1)
    flops = useful(parts)
    again = sum(p.flops for some in parts.values() for p in some if p.again)
    tokens = sum(B * T for B, T, _ in shapes)
    print(
        f"step of {tokens:,} tokens: {flops / 1e9:,.0f} GFLOP useful, {again / 1e9:,.0f} made "
        f"again\n"
        f"{step:.3f} s, {tokens / step:,.0f} tokens/s, {flops / step / 1e12:.2f} TFLOP/s: "
        f"{flops / step / peak:.0%} of the peak\n"
    )
    print(f"{'part':<18}{'GFLOP':>8}{'s':>8}{'of step':>9}{'of peak':>9}{'s products alone':>18}")
    for name, seconds in times.items():
        some = parts.get(name, [])
        mine = useful({name: some})
        alone = sum(p.seconds(dtype, args.rounds) for p in some)
        print(
            f"{name:<18}{mine / 1e9:>8,.0f}{seconds:>8.3f}{seconds / step:>9.0%}"
            f"{mine / seconds / peak:>9.0%}{alone:>18.3f}"
        )
    rest = step - sum(times.values())
    print(f"{'everything else':<18}{'':>8}{rest:>8.3f}{rest / step:>9.0%}")
    print(f"\nbatches: {draw:.3f} s a step, in a thread beside the training")


def full(views: tuple[Batch, Batch], recipe: Recipe) -> bool:
    """Whether no view lost genes, so that the step has its full size."""
    return all(view.tokens.shape[1] == recipe.model.length for view in views)


if __name__ == "__main__":
    main()
