"""Building an index from a release and a small labelled corpus of real and altered profiles."""

import csv

import numpy as np
import pandas as pd
import pytest
from server_support import COADREAD, NORMAL, TUMOR, engine

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.build import build_corpus
from specformer_encoder.errors import SpecformerError
from specformer_encoder.ssgsea import ssgsea
from specformer_index.build import build_index
from specformer_index.opening import read_info, verify
from specformer_index.search import ReferenceIndex

COLUMNS = [
    *("sample_id", "source", "unit", "barcode", "patient"),
    *("study", "tissue", "sample_type", "split", "subtype"),
]
UNIT = "rsem_normalized"


def example(path, sep):
    frame = pd.read_csv(path, sep=sep)
    frame.index = frame.iloc[:, 1].astype(str)
    return frame.iloc[:, 2:]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Write a labelled folder: the five real example profiles, and two noisy copies of each."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(3)
    rows, columns = [], {}
    for path, sep, studies in (
        (TUMOR, "\t", ["TCGA-LUAD"]),
        (NORMAL, "\t", ["TCGA-LUAD"]),
        (COADREAD, ",", ["TCGA-COAD", "TCGA-COAD", "TCGA-READ"]),
    ):
        frame = example(path, sep)
        for barcode, study in zip(frame.columns, studies, strict=True):
            for copy in range(3):
                noise = rng.lognormal(0, 0.05 * copy, len(frame))
                name = f"copy{copy}:{barcode}"
                columns[name] = frame[barcode] * noise
                rows.append(
                    {
                        "sample_id": f"examples:{name}",
                        "source": "examples",
                        "unit": UNIT,
                        "barcode": name,
                        "patient": f"{barcode[:12]} copy {copy}",
                        "study": study,
                        "tissue": "",
                        "sample_type": "normal" if path == NORMAL else "tumor",
                        "split": "valid" if copy == 2 else "train",
                        "subtype": "",
                    }
                )
    matrix = pd.DataFrame(columns).reset_index(names="entrez_id")
    (folder / "expression").mkdir()
    matrix.to_parquet(folder / "expression" / f"examples.{UNIT}.parquet", index=False)
    with (folder / "samples.tsv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def corpus(labelled, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "corpus"
    build_corpus([labelled], out)
    return Corpus.open(out)


@pytest.fixture(scope="module")
def medians(tmp_path_factory):
    """Write a median file of the published form, from the example tumour."""
    from specformer_encoder.genes import vocabulary
    from specformer_encoder.profiles import load_profiles

    profile = load_profiles(TUMOR).values[0]
    path = tmp_path_factory.mktemp("medians") / "medians.parquet"
    pd.DataFrame(
        {
            "Ensembl_Gene_ID": vocabulary().ensembl_ids,
            "Symbol": vocabulary().symbols,
            "nTPM_lung": profile,
            "FPKM_LUAD": profile,
        }
    ).to_parquet(path)
    return path


def build(out, corpus, **more):
    loaded = engine().loaded()
    arguments = {"medians": None, **more}
    return build_index(
        embedder=loaded.embedder,
        corpus=corpus,
        out=out,
        gene_sets=loaded.gene_sets,
        **arguments,
    )


@pytest.fixture(scope="module")
def built(corpus, medians, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "index"
    lines = []
    info = build(out, corpus, medians=medians, progress=lines.append)
    return out, info, lines


def test_what_is_built(built):
    out, info, lines = built
    release = engine().loaded().embedder.release
    assert info.counts == {"rows": 17, "profiles": 15, "medians": 2, "cohorts": 4, "patients": 12}
    assert info.release_sha256 == release.sha256
    assert verify(read_info(out)) == []
    assert [path.name for path in out.parent.iterdir()] == ["index"]  # nothing partial is left
    assert any("15 profiles" in line for line in lines)
    cohorts = pd.read_parquet(out / "cohorts.parquet").set_index("id")
    assert cohorts.loc["TCGA-LUAD normal", "name"] == "Lung Adenocarcinoma, adjacent normal tissue"
    assert cohorts.loc["TCGA-COAD tumor", "n_profiles"] == 6
    assert set(cohorts["kind"]) == {"profile", "cohort_median"}
    assert "HPA-lung median" in cohorts.index


def test_every_profile_is_its_own_nearest_neighbour(built, labelled):
    from specformer_encoder.profiles import load_profiles

    index = ReferenceIndex.open(built[0], release_sha256=built[1].release_sha256)
    embedder = engine().loaded().embedder
    profiles = load_profiles(labelled / "expression" / f"examples.{UNIT}.parquet", unit=UNIT)
    for name, vector in zip(profiles.samples, embedder.embed(profiles.values), strict=True):
        nearest = index.nearest_profiles(vector, k=1)[0]
        assert nearest.id == f"examples:{name}#{UNIT}"
        assert nearest.similarity == pytest.approx(1, abs=1e-5)
        assert nearest.sample_type == ("normal" if "-11A-" in name else "tumor")


def test_cohort_pathways_equal_a_second_computation(built, labelled):
    from specformer_encoder.profiles import load_profiles

    index = ReferenceIndex.open(built[0], release_sha256=built[1].release_sha256)
    gene_sets = engine().loaded().gene_sets
    profiles = load_profiles(labelled / "expression" / f"examples.{UNIT}.parquet", unit=UNIT)
    luad = [i for i, name in enumerate(profiles.samples) if ":TCGA-44-3396-01A" in name]
    scores = ssgsea(profiles.values[luad], gene_sets)
    stats = index.cohort_pathways("TCGA-LUAD tumor")
    assert len(luad) == 3
    assert index.pathway_profiles("TCGA-LUAD tumor") == 3
    for position, name in enumerate(gene_sets.names[:200]):
        if np.isfinite(scores[:, position]).all():
            place = stats.gene_sets[name]
            assert stats.mean[place] == pytest.approx(scores[:, position].mean(), abs=1e-6)
            assert stats.sd[place] == pytest.approx(scores[:, position].std(ddof=1), abs=1e-6)


def test_medians_are_marked(built):
    from specformer_encoder.profiles import load_profiles

    index = ReferenceIndex.open(built[0], release_sha256=built[1].release_sha256)
    vector = engine().loaded().embedder.embed(load_profiles(TUMOR).values)[0]
    medians = {median.cohort: median for median in index.nearest_cohorts(vector, k=5).medians}
    assert medians["TCGA-LUAD median"].name == "Lung Adenocarcinoma (published median)"
    # The median file holds the sample itself, so the way through units and genes loses nothing.
    assert medians["TCGA-LUAD median"].similarity == pytest.approx(1, abs=1e-3)


def test_an_existing_index_is_kept_unless_replaced(built, corpus):
    out = built[0]
    before = (out / "index.json").read_text()
    with pytest.raises(SpecformerError, match="exists already"):
        build(out, corpus)
    assert (out / "index.json").read_text() == before


def test_replace(corpus, tmp_path):
    out = tmp_path / "index"
    build(out, corpus)
    (out / "marker").touch()
    assert build(out, corpus, replace=True).counts["profiles"] == 15
    assert not (out / "marker").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_replace_never_removes_what_is_no_index(corpus, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").touch()
    with pytest.raises(SpecformerError, match="is not an index"):
        build(tmp_path / "thesis", corpus, replace=True)
    assert (tmp_path / "thesis" / "chapter.txt").exists()


def test_a_failed_build_leaves_nothing_behind(corpus, tmp_path):
    with pytest.raises(SpecformerError, match=r"nowhere\.parquet"):
        build(tmp_path / "index", corpus, medians=tmp_path / "nowhere.parquet")
    assert list(tmp_path.iterdir()) == []
