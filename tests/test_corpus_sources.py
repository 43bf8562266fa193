"""A corpus from downloaded files: Xena's and GTEx's layouts, labels from barcodes and tables."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_corpus_build import hash_split

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.build import build_corpus
from specformer_encoder.corpus.disease_names import GTEX_TISSUES, TARGET_STUDIES, TCGA_STUDIES
from specformer_encoder.corpus.sources import find_sources
from specformer_encoder.errors import CorpusError
from specformer_encoder.genes import vocabulary
from specformer_encoder.profiles import load_profiles
from specformer_index.names import STUDY_NAMES

EXAMPLES = Path(__file__).parents[1] / "examples"
PATIENTS = 12
#: Tumour, normal, and what is no patient's tissue or has no label.
TCGA = [f"TCGA-A{n % 10}-{n:04d}-01" for n in range(PATIENTS)]
TCGA += ["TCGA-A0-0000-11", "TCGA-A1-0001-20", "TCGA-ZZ-9999-01"]
DISEASES = ["lung adenocarcinoma", "kidney chromophobe", "head & neck squamous cell carcinoma"]
EBPP = "EB%2B%2BAdjustPANCAN_IlluminaHiSeq_RNASeqV2.geneExp.xena.gz"


@pytest.fixture(scope="module")
def tpm():
    """Ensembl ids, symbols, lengths, and (samples, genes) TPM that differ from sample to sample."""
    profile = load_profiles(EXAMPLES / "luad_tumor.tsv.gz").values[0]
    there = np.flatnonzero(~np.isnan(profile))
    draw = np.random.default_rng(5)
    values = profile[there] * np.exp(draw.normal(0, 0.3, (len(TCGA), len(there))))
    values *= 1e6 / values.sum(axis=1, keepdims=True)
    names = vocabulary()
    return (
        [f"{names.ensembl_ids[i]}.{i % 9 + 1}" for i in there],
        [names.symbols[i] for i in there],
        names.lengths[there],
        values,
    )


def write(path, corner, names, samples, values):
    """Genes × samples, as Xena writes it."""
    lines = ["\t".join([corner, *samples])]
    lines += [
        "\t".join([name, *(f"{v:.4f}" for v in row)])
        for name, row in zip(names, values.T, strict=True)
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n", compresslevel=1))


def phenotype(path):
    lines = ["sample\tsample_type_id\tsample_type\t_primary_disease"]
    for number in range(PATIENTS):
        name = f"TCGA-A{number % 10}-{number:04d}-01"
        lines.append(f"{name}\t1\tPrimary Tumor\t{DISEASES[number % 3]}")
    path.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))


@pytest.fixture(scope="module")
def xena(tpm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("xena")
    ids, symbols, lengths, values = tpm
    counts = np.round(values * lengths / 40, 2)
    upper = np.apply_along_axis(lambda row: np.quantile(row[row > 0], 0.75), 1, counts)[:, None]
    normalised = np.log2(counts * 1000 / upper + 1)
    adjusted = normalised + np.random.default_rng(1).normal(0, 0.02, normalised.shape)
    write(folder / "tcga_RSEM_gene_tpm.gz", "sample", ids, TCGA, np.log2(values + 0.001))
    fpkm = np.log2(0.4 * values + 0.001)
    write(folder / "tcga_RSEM_gene_fpkm.gz", "sample", ids, TCGA, fpkm)
    write(folder / "tcga_gene_expected_count.gz", "sample", ids, TCGA, np.log2(counts + 1))
    write(folder / "tcga_RSEM_Hugo_norm_count.gz", "sample", symbols, TCGA, normalised)
    write(folder / EBPP, "sample", symbols, TCGA[:-4], adjusted[:-4])
    phenotype(folder / "TCGA_phenotype_denseDataOnlyDownload.tsv.gz")
    (folder / "manifest.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture(scope="module")
def corpus(xena, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "corpus"
    build_corpus([xena], out)
    return Corpus.open(out)


def test_five_normalizations_are_five_views_of_one_sample(corpus):
    views = Counter(label.unit for label in corpus.labels)
    names = ["tpm", "fpkm", "expected_counts", "rsem_normalized", "rsem_batch_adjusted"]
    assert views == dict.fromkeys(names[:4], PATIENTS + 1) | {names[4]: PATIENTS - 1}
    rows = [i for i, s in enumerate(corpus.labels) if s.sample_id == "xena:TCGA-A3-0003-01"]
    assert {corpus.labels[i].unit for i in rows} == set(names)
    (patient,) = {corpus.labels[i].patient for i in rows}
    assert patient == "TCGA-A3-0003"
    assert {corpus.labels[i].split for i in rows} == {hash_split(patient)}


def test_the_views_agree_on_the_linear_scale(corpus, tpm):
    """What was drawn as TPM comes back from every unit."""
    truth = tpm[3][3]
    there = np.isin(vocabulary().ensembl_ids, [name.split(".")[0] for name in tpm[0]])
    for row, label in enumerate(corpus.labels):
        if label.barcode == TCGA[3]:
            profile = corpus.values([row])[0][there]
            known = ~np.isnan(profile)
            assert known.mean() > 0.99, label.unit
            high = known & (truth > 50)
            difference = np.log2(profile[high] / truth[high])
            assert high.sum() > 1000
            assert np.abs(np.median(difference)) < 0.05, label.unit
            assert np.std(difference) < 0.1, label.unit


def test_labels_come_from_barcode_and_table(corpus):
    labels = {label.barcode: label for label in corpus.labels}
    assert labels["TCGA-A0-0000-01"].study == "TCGA-LUAD"
    assert labels["TCGA-A1-0001-01"].study == "TCGA-KICH"
    assert labels["TCGA-A2-0002-01"].study == "TCGA-HNSC"
    # The table has no row for it; its patient has one disease.
    assert labels["TCGA-A0-0000-11"].study == "TCGA-LUAD"
    assert labels["TCGA-A0-0000-11"].sample_type == "normal"
    assert labels["TCGA-A0-0000-01"].sample_type == "tumor"


def test_what_has_no_label_is_left_out_by_name(corpus):
    for file in corpus.info["files"][1:]:
        assert file["dropped"].get("no label") == ["TCGA-ZZ-9999-01"] or "EB" in file["name"]
    tpm_file = next(f for f in corpus.info["files"] if f["name"] == "tcga_RSEM_gene_tpm.gz")
    assert tpm_file["dropped"] == {
        "no label": ["TCGA-ZZ-9999-01"],
        "control or cell line": ["TCGA-A1-0001-20"],
    }
    assert (tpm_file["samples"], tpm_file["profiles"]) == (len(TCGA), PATIENTS + 1)
    assert corpus.info["unused_files"] == ["notes.txt"]
    (table,) = corpus.info["label_tables"]
    assert table["name"] == "TCGA_phenotype_denseDataOnlyDownload.tsv.gz"


def test_a_folder_without_a_table_of_labels_is_refused(xena, tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "tcga_RSEM_gene_tpm.gz").symlink_to(xena / "tcga_RSEM_gene_tpm.gz")
    with pytest.raises(CorpusError, match="no table that labels its samples"):
        build_corpus([tmp_path / "bare"], tmp_path / "corpus")
    table = tmp_path / "bare" / "TCGA_phenotype_denseDataOnlyDownload.tsv.gz"
    table.write_bytes(gzip.compress(b"sample\tdisease\nTCGA-A0-0000-01\tx\n"))
    with pytest.raises(CorpusError, match="lacks the columns sample and _primary_disease"):
        build_corpus([tmp_path / "bare"], tmp_path / "corpus")
    table.write_bytes(gzip.compress(b"sample\t_primary_disease\n" * 900)[:40])
    with pytest.raises(CorpusError, match="It is damaged: download it again"):
        build_corpus([tmp_path / "bare"], tmp_path / "corpus")


@pytest.fixture(scope="module")
def toil(tpm, tmp_path_factory):
    """Xena's TCGA, TARGET and GTEx in one matrix, with its phenotype table."""
    folder = tmp_path_factory.mktemp("toil")
    samples = [
        *TCGA[:6],
        "TARGET-20-PABLDZ-04",
        "TARGET-20-PABLDZ-41",
        "TARGET-30-PAISNS-50",
        "GTEX-1117F-0226-SM-5GZZ7",
        "GTEX-1117F-0426-SM-5EGHI",
        "GTEX-NONE1-0226-SM-5GZZ7",
        "K-562-SM-3MJHH",
    ]
    ids, _, _, values = tpm
    name = folder / "TcgaTargetGtex_rsem_gene_tpm.gz"
    write(name, "sample", ids, samples, np.log2(values[: len(samples)] + 0.001))
    lines = ["sample\tdetailed_category\tprimary disease or tissue\t_primary_site\t_study"]
    luad = "Lung Adenocarcinoma\tLung Adenocarcinoma\tLung\tTCGA"
    lines += [f"{sample}\t{luad}" for sample in TCGA[:6]]
    aml = "Acute Myeloid Leukemia, Induction Failure Subproject"
    lines.append(f"TARGET-20-PABLDZ-04\t{aml}\t{aml}\tWhite blood cell\tTARGET")
    lines.append("TARGET-30-PAISNS-50\tNeuroblastoma\tNeuroblastoma\tNervous system\tTARGET")
    lines.append("GTEX-1117F-0226-SM-5GZZ7\tSkin - Sun Exposed (Lower Leg)\t\tSkin\tGTEX")
    lines.append("GTEX-1117F-0426-SM-5EGHI\tMuscle - Skeletal\tMuscle\tMuscle\tGTEX")
    lines.append("K-562-SM-3MJHH\tCells - Leukemia Cell Line (CML)\t\tBone Marrow\tGTEX")
    text = "\n".join(lines).encode("latin-1") + b"\n"
    (folder / "TcgaTargetGTEX_phenotype.txt.gz").write_bytes(gzip.compress(text))
    return folder


def test_toil_and_tcga_together_are_one_corpus(toil, xena, tmp_path):
    info = build_corpus([toil, xena], tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    labels = {(label.barcode, label.unit): label for label in corpus.labels}
    aml = labels["TARGET-20-PABLDZ-04", "tpm"]
    assert (aml.study, aml.sample_type, aml.patient) == ("TARGET-AML", "tumor", "TARGET-20-PABLDZ")
    assert labels["TARGET-20-PABLDZ-41", "tpm"].sample_type == "tumor"
    skin = labels["GTEX-1117F-0226-SM-5GZZ7", "tpm"]
    assert (skin.study, skin.tissue) == ("GTEX", "Skin - Sun Exposed (Lower leg)")
    assert (skin.patient, skin.sample_type) == ("GTEX-1117F", "normal")
    files = {file["name"]: file for file in info["files"]}
    assert files["TcgaTargetGtex_rsem_gene_tpm.gz"]["dropped"] == {
        "control or cell line": ["TARGET-30-PAISNS-50"],
        "no label": ["GTEX-NONE1-0226-SM-5GZZ7", "K-562-SM-3MJHH"],
    }
    # The same profile is in both TPM files of Xena, and is taken once.
    twice = files["tcga_RSEM_gene_tpm.gz"]["dropped"][
        "the same profile was read from an earlier file"
    ]
    assert twice == TCGA[:6]
    of_patient = {label.split for label in corpus.labels if label.patient == "TCGA-A3-0003"}
    assert of_patient == {hash_split("TCGA-A3-0003")}


def test_tables_that_disagree_give_no_label(toil, xena, tmp_path):
    """Alone each table names a disease of TCGA-A1-0001; one folder with both has two."""
    (tmp_path / "both").mkdir()
    for folder in (toil, xena):
        for path in folder.iterdir():
            if "gene_fpkm" in path.name or "henotype" in path.name:
                (tmp_path / "both" / path.name).symlink_to(path)
    (source,) = find_sources([tmp_path / "both"]).sources
    labels = {name: source.label_of(name) for name in TCGA[:6]}
    assert [name for name in labels if labels[name] == "no label"] == [
        TCGA[i] for i in (1, 2, 4, 5)
    ]
    assert labels[TCGA[0]].study == labels[TCGA[3]].study == "TCGA-LUAD"


def test_gtex_v8_is_labelled_by_its_attributes(tpm, xena, tmp_path):
    ids, symbols, _, values = tpm
    samples = ["GTEX-1117F-0226-SM-5GZZ7", "GTEX-111CU-1826-SM-5GZYN"]
    rows = [f"#1.2\n{len(ids)}\t2\nName\tDescription\t" + "\t".join(samples)]
    rows += [
        f"{gene}\t{symbol}\t{a:.4g}\t{b:.4g}"
        for gene, symbol, a, b in zip(ids, symbols, *values[:2], strict=True)
    ]
    gtex = tmp_path / "gtex"
    gtex.mkdir()
    name = "GTEx_Analysis_2017-06-05_v8_RNASeQCv1.1.9_gene_tpm.gct.gz"
    (gtex / name).write_bytes(gzip.compress("\n".join(rows).encode() + b"\n"))
    attributes = "SAMPID\tSMATSSCR\tSMTS\tSMTSD\n" + "".join(
        f"{sample}\t\tAdipose Tissue\tAdipose - Subcutaneous\n" for sample in samples
    )
    (gtex / "GTEx_Analysis_v8_Annotations_SampleAttributesDS.txt").write_text(attributes)
    build_corpus([gtex, xena], tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    labels = [label for label in corpus.labels if label.source == "gtex_v8"]
    assert [label.tissue for label in labels] == ["Adipose - Subcutaneous"] * 2
    assert [label.patient for label in labels] == ["GTEX-1117F", "GTEX-111CU"]
    assert json.loads((tmp_path / "corpus" / "corpus.json").read_text())["label_tables"]


def test_every_study_has_a_name():
    assert set(TCGA_STUDIES.values()) == {name for name in STUDY_NAMES if name.startswith("TCGA")}
    assert len(TCGA_STUDIES) == 33
    assert all(name == name.casefold() for name in (*TCGA_STUDIES, *TARGET_STUDIES))
    assert (
        GTEX_TISSUES["brain - spinal cord (cervical c-1)"] == "Brain - Spinal cord (cervical c-1)"
    )


def test_disease_names_are_those_of_the_published_labels(shared_corpus):
    """Another project's copy of Xena's diseases, with the study beside each."""
    path = shared_corpus.parent / "reference" / "tcga_labels.tsv"
    if not path.is_file():
        pytest.skip("needs ../shared/reference, which is not there")
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    pairs = {(row[3].casefold(), f"TCGA-{row[2]}") for row in rows}
    assert pairs == set(TCGA_STUDIES.items())
