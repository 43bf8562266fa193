"""Simulated tumours against the model that they claim to follow, and against real ones left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import rankdata

from specformer_encoder.cohort_medians import CohortMedians, from_logs, to_logs
from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.build import build_corpus
from specformer_encoder.errors import CorpusError
from specformer_encoder.evaluate.simulated_types import Bench, simulated_types, together
from specformer_encoder.genes import vocabulary
from specformer_encoder.packed import LABELS
from specformer_encoder.simulate import (
    MINIMUM_TYPES,
    RealTumors,
    quantifier_of,
    simulate_type,
    simulate_types,
)

TYPES = [f"TCGA-T{number}" for number in range(9)]
PIPELINES = ["gdc", "rsem"]
GENES, PATIENTS = 400, 40


class World:
    """Log expression that is, by construction, median + shift + one factor + noise.

    Genes 0-49 of pipeline rsem are unmeasured; genes 50-99 move with one factor of the patient.
    """

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        base = draw.normal(5, 1.5, GENES)
        self.logs = (base + draw.normal(0, 0.8, (len(TYPES), GENES))).astype(np.float32)
        self.shift = {"gdc": np.zeros(GENES), "rsem": draw.normal(0, 1, GENES)}
        rows, self.studies, self.pipelines = [], [], []
        for number, study in enumerate(TYPES):
            for pipeline in PIPELINES:
                factor = np.zeros((PATIENTS, GENES))
                factor[:, 50:100] = draw.normal(0, 1, (PATIENTS, 1))
                noise = draw.normal(0, 0.3, (PATIENTS, GENES))
                rows.append(self.logs[number] + self.shift[pipeline] + factor + noise)
                self.studies += [study] * PATIENTS
                self.pipelines += [pipeline] * PATIENTS
        self.values = from_logs(np.concatenate(rows).astype(np.float32))
        self.values[np.array(self.pipelines) == "rsem", :50] = np.nan
        self.medians = CohortMedians(TYPES, to_logs(from_logs(self.logs)))

    def tumors(self, **changed: object) -> RealTumors:
        return RealTumors(changed.get("values", self.values), self.studies, self.pipelines)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def simulate(world: World, tumors: RealTumors | None = None, **arguments: object) -> np.ndarray:
    arguments = {"profiles": 50, "pipelines": PIPELINES} | arguments
    return simulate_type(
        TYPES[3], world.medians, tumors=tumors or world.tumors(), **arguments
    ).values


def test_shift_is_the_weighted_mean_over_other_types(world):
    """Against a plain loop over types and genes."""
    few = np.arange(len(world.studies)) >= PATIENTS - 3  # three tumours of the first group
    tumors = RealTumors(
        world.values[few],
        [s for s, k in zip(world.studies, few, strict=True) if k],
        [p for p, k in zip(world.pipelines, few, strict=True) if k],
    )
    found = tumors.shift("gdc", world.medians, without=[TYPES[3]])
    logs = np.log2(world.values / np.nansum(world.values, axis=1, keepdims=True) * 1e6 + 0.1)
    total, weights = np.zeros(GENES), 0.0
    for number, study in enumerate(TYPES):
        if number == 3:
            continue
        mine = [
            i
            for i in range(len(few))
            if few[i] and world.studies[i] == study and world.pipelines[i] == "gdc"
        ]
        weight = len(mine) / (len(mine) + 2)
        total += weight * (logs[mine].mean(axis=0) - world.medians.logs[number])
        weights += weight
    assert np.allclose(found, total / weights, atol=1e-3)


def test_simulated_tumors_lie_where_the_left_out_real_ones_do(world):
    values = simulate(world, profiles=400)
    real = world.tumors()
    for place, pipeline in enumerate(PIPELINES):
        centre = to_logs(values[400 * place : 400 * place + 400]).mean(axis=0)
        expected = real.means[TYPES[3], pipeline]
        assert np.sqrt(np.nanmean((centre - expected) ** 2)) < 0.2
        others = [real.means[s, pipeline] for s in TYPES if s != TYPES[3]]
        assert min(np.sqrt(np.nanmean((centre - o) ** 2)) for o in others) > 0.7


def test_genes_spread_and_move_together_as_in_real_tumors(world):
    logs = to_logs(simulate(world, profiles=400)[:400])
    within, through = [], np.array(world.pipelines)
    for study in TYPES:
        rows = (np.array(world.studies) == study) & (through == "gdc")
        real = to_logs(world.values[rows])
        within.append(real - real.mean(axis=0))
    spread = np.sqrt(np.mean([part.var(axis=0, ddof=1) for part in within], axis=0))
    assert np.median(logs.std(axis=0) / spread) == pytest.approx(1, abs=0.08)
    pairs = np.triu_indices(GENES, 1)
    found, expected = (np.corrcoef(x.T)[pairs] for x in (logs, np.concatenate(within)))
    assert np.corrcoef(found, expected)[0, 1] > 0.9
    moving = (pairs[0] >= 50) & (pairs[1] < 100)
    assert found[moving].mean() == pytest.approx(expected[moving].mean(), abs=0.05)


def test_each_profile_is_expression(world):
    values = simulate(world)
    assert np.allclose(np.nansum(values, axis=1), 1e6, rtol=1e-4)
    assert np.nanmin(values) >= 0
    assert np.isnan(values[50:, :50]).all()
    assert not np.isnan(values[:50]).any()
    assert not np.isnan(values[50:, 50:]).any()


def test_silent_genes_stay_silent(world):
    """A gene that no tumour expresses and no median has is silent in most simulated tumours."""
    logs, values = world.medians.logs.copy(), world.values.copy()
    logs[:, 200], values[:, 200] = np.log2(np.float32(0.1)), 0
    silent = CohortMedians(TYPES, logs)
    tumors = world.tumors(values=values)
    made = simulate_type(TYPES[3], silent, tumors=tumors, pipelines=PIPELINES, profiles=20, seed=0)
    assert made.values[:, 200].max() < 0.01


def test_the_types_own_tumors_are_not_looked_at(world):
    scrambled = world.values.copy()
    scrambled[np.array([s == TYPES[3] for s in world.studies])] = 1.0
    mended = world.tumors(values=scrambled)
    assert np.array_equal(simulate(world), simulate(world, mended), equal_nan=True)
    also = np.array([s == TYPES[4] for s in world.studies])
    scrambled[also] = 1.0
    mended = world.tumors(values=scrambled)
    with pytest.raises(CorpusError, match="7 types"):
        simulate(world, mended, without=[TYPES[4]])
    assert not np.array_equal(simulate(world), simulate(world, mended), equal_nan=True)


def test_the_seed_decides(world):
    assert np.array_equal(simulate(world), simulate(world), equal_nan=True)
    assert not np.array_equal(simulate(world), simulate(world, seed=1), equal_nan=True)


def test_names_say_what_a_profile_is(world):
    made = simulate_type(
        TYPES[0], world.medians, tumors=world.tumors(), pipelines=["rsem"], profiles=2
    )
    assert made.names == ["simulated:TCGA-T0:rsem:0", "simulated:TCGA-T0:rsem:1"]
    assert made.studies == [TYPES[0]] * 2
    assert made.pipelines == ["rsem"] * 2


def test_what_cannot_be_simulated_is_refused(world):
    tumors = world.tumors()
    with pytest.raises(CorpusError, match="No median of TCGA-XXX"):
        world.medians.of("TCGA-XXX")
    with pytest.raises(CorpusError, match="Pipeline star has tumours of 0 types"):
        tumors.shift("star", world.medians)
    assert tumors.pipelines() == PIPELINES
    assert tumors.pipelines(without=TYPES[:2]) == []
    lonely = RealTumors(world.values[:2], world.studies[:2], world.pipelines[:2])
    with pytest.raises(CorpusError, match="residuals"):
        lonely.residuals(1, draw=np.random.default_rng(0))


def test_a_table_of_medians_is_read_by_gene(tmp_path):
    names = vocabulary().ensembl_ids
    table = {
        "Ensembl_Gene_ID": [names[5], "ENSG_UNKNOWN", names[2]],
        "nTPM_liver": [1.0, 2.0, 3.0],
        "FPKM_PCPG": pa.array([30.0, 9.0, 10.0], pa.float32()),
    }
    pq.write_table(pa.table(table), tmp_path / "m.parquet")
    medians = CohortMedians.read(tmp_path / "m.parquet")
    assert medians.studies == ["TCGA-PCPG"]
    logs = medians.of("TCGA-PCPG")
    assert np.allclose(logs[[5, 2]], np.log2([750_000.1, 250_000.1]))
    assert np.isnan(logs).sum() == len(names) - 2
    (tmp_path / "no.parquet").write_text("no")
    with pytest.raises(CorpusError, match="cannot be read"):
        CohortMedians.read(tmp_path / "no.parquet")
    pq.write_table(pa.table({"gene": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(CorpusError, match="no table of cohort medians"):
        CohortMedians.read(tmp_path / "other.parquet")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Path]:
    """Ten types of fourteen patients in one pipeline, and one type of four; their true medians."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "expression").mkdir()
    draw = np.random.default_rng(3)
    genes = vocabulary().ensembl_ids[:10_200]
    base = draw.normal(3, 2, len(genes))
    types = [*TYPES, "TCGA-T9", "TCGA-THIN"]
    centres = base + draw.normal(0, 0.8, (len(types), len(genes)))
    shift = draw.normal(0, 0.5, len(genes))
    axes = draw.normal(0, 0.4, (4, len(genes)))
    columns: dict[str, object] = {"ensembl_id": genes}
    lines = ["\t".join(LABELS)]
    for study, centre in zip(types, centres, strict=True):
        patients = 4 if study == "TCGA-THIN" else 14
        for number in range(patients):
            name = f"{study}-{number}"
            # Few axes and some noise: tumours of one type differ along a few directions.
            logs = centre + shift + draw.normal(0, 1, len(axes)) @ axes
            logs += draw.normal(0, 0.2, len(genes))
            columns[name] = np.exp2(logs).astype(np.float32)
            split = "test" if number < 3 else "train" if number > 3 else "valid"
            label = dict.fromkeys(LABELS, "") | {
                "sample_id": f"gdc_made:{name}",
                "source": "gdc_made",
                "unit": "tpm",
                "barcode": name,
                "patient": name,
                "study": study,
                "sample_type": "tumor",
                "split": split,
            }
            lines.append("\t".join(label.values()))
    for name in list(columns)[1:]:
        columns[name] *= np.float32(1e6) / columns[name].sum()
    pq.write_table(pa.table(columns), folder / "expression" / "gdc_made.tpm.parquet")
    (folder / "samples.tsv").write_text("\n".join(lines) + "\n")
    cohorts = {
        f"FPKM_{study.removeprefix('TCGA-')}": np.exp2(centre).astype(np.float32)
        for study, centre in zip(types, centres, strict=True)
    }
    pq.write_table(pa.table({"Ensembl_Gene_ID": genes, **cohorts}), folder / "medians.parquet")
    out = tmp_path_factory.mktemp("built") / "corpus"
    build_corpus([folder], out)
    return Corpus.open(out), folder / "medians.parquet"


@pytest.fixture
def few_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred tumours have fewer axes than thousands, and weigh less against the penalty."""
    monkeypatch.setattr("specformer_encoder.evaluate.simulated_types.COMPONENTS", 16)
    monkeypatch.setattr("specformer_encoder.evaluate.simulated_types.STRENGTH", 1.0)


@pytest.mark.usefixtures("few_components")
def test_left_out_types_are_met_again_only_where_the_median_is_theirs(built):
    corpus, path = built
    medians = CohortMedians.read(path)
    found = simulated_types(Bench(corpus, medians, profiles=12, companions=4), TYPES[:2])
    for scores in found.values():
        assert scores["training tumors"] == 10
        assert scores["profiles"] == scores["patients"] == 3
        assert scores["top-1"].value == 1
        assert scores["reached"]
        assert scores["false calls"].value == 0
        assert scores["called instead"] == {}
    wrong = CohortMedians(medians.studies, np.roll(medians.logs, 4, axis=0))
    found = simulated_types(Bench(corpus, wrong, profiles=12, companions=4), TYPES[:1])
    assert found[TYPES[0]]["top-1"].value < 0.5
    assert not found[TYPES[0]]["reached"]
    assert sum(found[TYPES[0]]["called instead"].values()) >= 2


@pytest.mark.usefixtures("few_components")
def test_a_thin_type_is_added_to_the_others(built):
    corpus, path = built
    bench = Bench(corpus, CohortMedians.read(path), profiles=12, companions=4)
    found = together(bench, ["TCGA-THIN"])
    assert found["types"]["TCGA-THIN"]["top-1"].value == 1
    assert found["accuracy without"].value == found["accuracy with"].value == 1
    assert "TCGA-THIN" not in bench.types


def test_training_rows_of_thin_types_come_out_as_profiles(built):
    corpus, path = built
    made = simulate_types({"TCGA-THIN": 4, TYPES[0]: 3}, corpus, medians=path)
    assert made.values.shape == (7, len(vocabulary()))
    assert made.studies == ["TCGA-THIN"] * 4 + [TYPES[0]] * 3
    alone = simulate_types({TYPES[0]: 3}, corpus, medians=path)
    assert np.array_equal(made.values[4:], alone.values, equal_nan=True)
    assert len(simulate_types({}, corpus, medians=path)) == 0
    assert len({quantifier_of(label) for label in corpus.labels}) == 1
    assert len(TYPES) >= MINIMUM_TYPES


@pytest.mark.usefixtures("few_components")
def test_real_tumors_of_a_left_out_type_teach_nothing(built):
    corpus, path = built
    medians = CohortMedians.read(path)
    bench, blind = (Bench(corpus, medians, profiles=6, companions=2) for _ in range(2))
    own = np.array([bench.study(row) == TYPES[2] for row in bench.training])
    blind.real[own] = 7.0
    assert np.array_equal(bench.calls([TYPES[2]]), blind.calls([TYPES[2]]))
    blind.real[~own] = 7.0
    assert not np.array_equal(bench.calls([TYPES[2]]), blind.calls([TYPES[2]]))


def test_a_panel_cuts_every_profile_down_to_its_genes(built):
    corpus, path = built
    bench = Bench(corpus, CohortMedians.read(path), panel="gdc")
    bench.genes[:] = False
    bench.genes[100:900] = True
    rows = bench.training[:3]
    found = bench.vectors(corpus.values(rows))
    expected = rankdata(corpus.values(rows)[:, 100:900], axis=1) - 1
    assert found.shape == (3, 800)
    assert np.abs(found - expected / 799).max() < 0.003
    assert Bench(corpus, CohortMedians.read(path), panel="rsem").judged == []
