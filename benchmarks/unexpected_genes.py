"""Which score finds genes that do not belong: planted genes in real validation profiles.

Run with ``python benchmarks/unexpected_genes.py --corpus DIR``. Into one genome-wide profile of a
validation patient go, at once, genes with a known answer; the rest stays as it was, with all that
is truly unexpected in it, so a perfect score need not put a planted gene first:

gained          expression of a profile of another tissue, of the same source where it has one:
                in the upper quarter there, lower here by three tenths of all genes or more
lost            the same the other way round
silenced        a gene of the upper fifth, at a hundredth of its expression
lineage gained  as gained, of a transcription factor or product that marks a lineage
sex gained      RPS4Y1 in a female profile, from a male one; sex lost, the other way round. Sex is
                told by the genes of the Y chromosome; XIST codes for no protein and is not in the
                vocabulary

Scores: the factor model's z as `unexpected_genes` orders by (among the genes that it may list);
the plain difference of rank and expectation; z against the mean of all training profiles; z
against the training profiles of the patient's own cohort, whose label it is told; the network's
masked-gene surprisal, of which each fifth of the sequence is masked in turn, less the surprisal
without context, and of absent genes the expected count; z and surprisal together. A gene's rank is
among all measured genes in its direction; a gene that the sequence does not hold is last.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import numpy.typing as npt
import torch

from specformer_encoder.corpus import Corpus
from specformer_encoder.embedder import Embedder
from specformer_encoder.evaluate.metrics import bootstrap, bootstrap_mean
from specformer_encoder.genes import vocabulary
from specformer_encoder.leave_one_out import leave_one_out
from specformer_encoder.material import quantiles_of
from specformer_encoder.ordering import (
    NOT_MEASURED,
    gene_sequence,
    quantile_values,
    rank_quantiles,
)
from specformer_encoder.packed import GENOME_WIDE
from specformer_encoder.surprisal import candidates, excess_surprisal, standardised

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

# fmt: off
LINEAGE = [
    "NKX2-1", "SFTPC", "CDX2", "CDH17", "GATA3", "PAX8", "PAX2", "HNF1A", "HNF4A", "ALB", "TP63",
    "KRT5", "SOX10", "MLANA", "NKX3-1", "KLK3", "ESR1", "PTF1A", "PTPRC", "CD19", "CD3E", "GFAP",
    "OLIG2", "PHOX2B", "MYOD1", "TG", "NR5A1", "WT1", "TBX5", "FOXA1",
]
# fmt: on
Y_LINKED = ("RPS4Y1", "DDX3Y", "KDM5D", "UTY", "EIF1AY")
#: Parts of the sequence that are masked in turn.
PARTS = 5
#: Share of the surprisal that is added to z; 0.3 does as well, 1 worse.
_SURPRISAL_WEIGHT = 0.6
_LEAST_COHORT = 10
_LEAST_SPREAD = 0.03
_SEED = 20261126
UP = ("gained", "lineage gained", "sex gained")


@dataclass
class Profiles:
    """Genome-wide profiles of one split: rows of the corpus, labels by row, (n, V) quantiles."""

    rows: IntArray
    cohorts: list[str]
    quantiles: npt.NDArray[np.uint8]


@dataclass
class Answers:
    """Ranks of planted genes by (kind, score), and the patient of each."""

    ranks: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    people: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))


def profiles_of(corpus: Corpus, split: str) -> Profiles:
    """The genome-wide profiles of a split."""
    wide = corpus.genes_measured() >= GENOME_WIDE
    rows = [r for r, label in enumerate(corpus.labels) if label.split == split and wide[r]]
    cohorts = [f"{corpus.labels[r].study} {corpus.labels[r].sample_type}" for r in rows]
    return Profiles(np.array(rows), cohorts, quantiles_of(corpus, rows))


def moments(quantiles: npt.NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
    """(V,) mean and standard deviation of the rank quantile of every gene; 0 where unmeasured."""
    known = quantiles != NOT_MEASURED
    count = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, quantile_values(quantiles), 0)
    mean = values.sum(axis=0) / count
    variance = (np.square(values).sum(axis=0) / count - np.square(mean)).clip(min=0)
    return mean, np.maximum(np.sqrt(variance), _LEAST_SPREAD)


class Bench:
    """Everything that is the same for all profiles."""

    def __init__(self, corpus: Corpus, embedder: Embedder) -> None:
        self.corpus, self.embedder = corpus, embedder
        self.symbols = np.array(vocabulary().symbols)
        self.train, self.valid = profiles_of(corpus, "train"), profiles_of(corpus, "valid")
        self.everyone = moments(self.train.quantiles)
        self.cohorts = {}
        names = np.array(self.train.cohorts)
        for name in np.unique(names):
            if np.count_nonzero(names == name) >= _LEAST_COHORT:
                self.cohorts[str(name)] = moments(self.train.quantiles[names == name])
        self.male = self._male()

    def _male(self) -> npt.NDArray[np.float64]:
        """(n,) 1 male, 0 female, NaN where Y-linked genes do not say, of validation profiles."""
        x = quantile_values(self.valid.quantiles[:, np.isin(self.symbols, Y_LINKED)])
        known = ~np.isnan(x)
        mean = np.where(known, x, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        told = known.any(axis=1)
        return np.where(told & (mean > 0.5), 1, np.where(told & (mean < 0.25), 0, np.nan))

    def donors(self, place: int) -> list[int]:
        """Validation profiles of other tissues; of the same source where there are some."""
        labels = [self.corpus.labels[row] for row in self.valid.rows]
        own = labels[place]
        other = [
            i
            for i, label in enumerate(labels)
            if label.study != own.study and label.tissue != own.tissue
        ]
        return [i for i in other if labels[i].source == own.source] or other

    def plant(
        self, place: int, draw: np.random.Generator
    ) -> tuple[FloatArray, dict[str, IntArray], npt.NDArray[np.bool_]]:
        """A profile with genes planted, which ones by kind, and (V,) in the sequence before."""
        values = self.corpus.values([self.valid.rows[place]])[0]
        before = np.zeros(len(values), bool)
        before[gene_sequence(values, self.embedder.idf, self.embedder.config.length)] = True
        x = quantile_values(self.valid.quantiles[place])
        kinds: dict[str, IntArray] = {}
        used = np.zeros(len(values), bool)

        def choose(kind: str, among: npt.NDArray[np.bool_], count: int) -> IntArray:
            genes = np.flatnonzero(among & ~used)
            chosen = draw.choice(genes, min(count, len(genes)), replace=False)
            used[chosen] = True
            kinds[kind] = chosen
            return np.asarray(chosen)

        def swap(genes: IntArray, donor: int) -> None:
            theirs = self.corpus.values([self.valid.rows[donor]])[0]
            both = ~np.isnan(values) & ~np.isnan(theirs)
            values[genes] = theirs[genes] * (values[both].sum() / theirs[both].sum())

        male = self.male[place]
        if not np.isnan(male):
            gene = (self.symbols == "RPS4Y1") & ~np.isnan(x)
            others = np.flatnonzero(self.male == 1 - male)
            swap(choose("sex lost" if male else "sex gained", gene, 1), int(draw.choice(others)))
        donor = int(draw.choice(self.donors(place)))
        theirs = quantile_values(self.valid.quantiles[donor])
        higher, lower = (theirs >= 0.75) & (x <= theirs - 0.3), (x >= 0.75) & (theirs <= x - 0.3)
        swap(choose("lineage gained", higher & np.isin(self.symbols, LINEAGE), 1), donor)
        swap(choose("gained", higher, 3), donor)
        swap(choose("lost", lower, 3), donor)
        values[choose("silenced", x >= 0.8, 2)] *= 0.01
        return values, kinds, before

    def scores(
        self, place: int, values: FloatArray, draw: np.random.Generator
    ) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Score → (V,) how much a gene is there unexpectedly, and how much it is lacking."""
        quantiles = rank_quantiles(values)
        known = quantiles != NOT_MEASURED
        expectation = leave_one_out(self.embedder.factors, quantiles)
        z, _ = standardised(expectation)
        has, lacks = candidates(expectation)
        x = quantile_values(quantiles)
        result = {
            "z given all other genes (shipped)": (
                np.where(has, z, -np.inf),
                np.where(lacks, -z, -np.inf),
            )
        }

        def both_ways(name: str, score: FloatArray) -> None:
            last = (
                np.where(np.isnan(score), -np.inf, score),
                np.where(np.isnan(score), np.inf, score),
            )
            result[name] = (last[0], -last[1])

        both_ways("rank less expectation", expectation.values - expectation.expected)
        both_ways("z against all training profiles", (x - self.everyone[0]) / self.everyone[1])
        if (own := self.cohorts.get(self.valid.cohorts[place])) is not None:
            both_ways("z against the own cohort, label told", (x - own[0]) / own[1])
        sequence = gene_sequence(values, self.embedder.idf, self.embedder.config.length)
        part = draw.permutation(np.arange(len(sequence)) % PARTS)
        groups = [np.flatnonzero(part == p) for p in range(PARTS)]
        net = self.embedder.backend.network
        excess = np.full(len(values), -np.inf, np.float32)
        excess[sequence] = excess_surprisal(net, sequence, known, groups)
        count = expected_counts(self.embedder, sequence, known, groups)
        count[sequence] = -np.inf
        result["masked-gene surprisal"] = (excess, count)
        added = np.where(np.isfinite(excess), excess.clip(0), 0) * _SURPRISAL_WEIGHT
        up, down = result["z given all other genes (shipped)"]
        result["z and surprisal"] = (up + added, down)
        return result


def expected_counts(
    embedder: Embedder,
    sequence: npt.NDArray[np.uint16],
    known: npt.NDArray[np.bool_],
    groups: list[IntArray],
) -> FloatArray:
    """(V,) how often the network expects each gene in the sequence, each part masked in turn."""
    network = embedder.backend.network
    tokens = torch.from_numpy(sequence.astype(np.int64))
    total = torch.zeros(len(known))
    with torch.inference_mode():
        offset = torch.where(torch.from_numpy(known), network.gene_bias, float("-inf"))
        for group in groups:
            places = torch.from_numpy(group)
            hidden = tokens.index_fill(0, places, network.config.genes)
            states = network.states(hidden[None])[0, places]
            total += (states @ network.output_vectors().T + offset).softmax(dim=1).sum(dim=0)
    return total.numpy()


def ask(bench: Bench, patients: int) -> Answers:
    """Plant genes in one profile of each of so many patients, drawn at random."""
    first: dict[str, int] = {}
    draw = np.random.default_rng(_SEED)
    for place in draw.permutation(len(bench.valid.rows)):
        first.setdefault(bench.corpus.labels[bench.valid.rows[place]].person, int(place))
    answers = Answers()
    for person, place in list(first.items())[:patients]:
        values, kinds, before = bench.plant(place, draw)
        scores = bench.scores(place, values, draw)
        after = gene_sequence(values, bench.embedder.idf, bench.embedder.config.length)
        for kind, genes in kinds.items():
            direction = 0 if kind in UP else 1
            for gene in genes:
                held = bool(gene in after) if kind in UP else bool(before[gene])
                for name, both in scores.items():
                    score = both[direction]
                    # A gene without a score shares the last place.
                    rank = int(np.count_nonzero(score >= score[gene]))
                    for suffix in ("", " in sequence") if held else ("",):
                        answers.ranks[kind + suffix, name].append(rank)
                        answers.people[kind + suffix, name].append(person)
    return answers


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=150, help="validation patients at most")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(Corpus.open(options.corpus), Embedder.load(backend="torch"))
    answers = ask(bench, options.patients)
    print("| planted | score | genes | patients | median rank | in the first 10 | first 20 |")
    print("|---|---|---|---|---|---|---|")
    for (kind, name), found in sorted(answers.ranks.items()):
        ranks, people = np.array(found), answers.people[kind, name]
        middle = bootstrap(lambda rows, ranks=ranks: float(np.median(ranks[rows])), people)
        print(
            f"| {kind} | {name} | {len(ranks)} | {len(set(people))} | {middle.value:.0f} "
            f"({middle.low:.0f} to {middle.high:.0f}) | "
            + " | ".join(
                f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})"
                for e in (bootstrap_mean(ranks <= top, people) for top in (10, 20))
            )
            + " |"
        )


if __name__ == "__main__":
    main()
