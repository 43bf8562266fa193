"""Output of Salmon, kallisto and RSEM's isoforms, as the programs write it and as it goes wrong."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from specformer_encoder.errors import ExpressionValueError, GeneIdentifierError, InputFileError
from specformer_encoder.genes.table import DATA, vocabulary
from specformer_encoder.profiles import load_profiles, resolve
from specformer_encoder.readers import read
from specformer_encoder.readers.naming import sample_name

EXAMPLES = Path(__file__).parents[1] / "examples"
SALMON = ["Name", "Length", "EffectiveLength", "TPM", "NumReads"]
KALLISTO = ["target_id", "length", "eff_length", "est_counts", "tpm"]
RSEM = [
    "transcript_id", "gene_id", "length", "effective_length", "expected_count", "TPM", "FPKM",
    "IsoPct",
]  # fmt: skip


def table(columns, name, tpm, gene=None):
    """A quantification with plausible lengths and counts around `tpm`."""
    length = np.full(len(name), 2000)
    content = {
        "Name": name, "target_id": name, "transcript_id": name, "gene_id": gene,
        "TPM": tpm, "tpm": tpm, "FPKM": tpm, "IsoPct": 0 * length,
        "NumReads": tpm, "est_counts": tpm, "expected_count": tpm,
        "Length": length, "length": length,
        "EffectiveLength": length - 200, "eff_length": length - 200, "effective_length": length,
    }  # fmt: skip
    return pd.DataFrame({column: content[column] for column in columns})


def write(path, frame):
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, sep="\t", index=False, float_format="%.6g")  # Salmon's six digits
    return path


@pytest.fixture(scope="module")
def tumour():
    """The real example tumour and a random split of its genes over their real transcripts."""
    profile = load_profiles(EXAMPLES / "luad_tumor.tsv.gz")
    position = {int(gene[4:]): row for row, gene in enumerate(vocabulary().ensembl_ids)}
    frame = pq.read_table(DATA / "transcripts.parquet").to_pandas()
    frame["row"] = frame["gene"].map(position)
    frame = frame.dropna(subset="row")
    frame["total"] = profile.values[0][frame["row"].astype(int)]
    frame = frame.dropna(subset="total").reset_index(drop=True)
    draw = np.random.default_rng(5)
    weight = pd.Series(draw.gamma(0.3, size=len(frame)) + 1e-9)
    frame["tpm"] = frame["total"] * weight / weight.groupby(frame["gene"]).transform("sum")
    version = draw.integers(1, 20, len(frame)).astype(str)
    frame["name"] = [f"ENST{n:011d}.{v}" for n, v in zip(frame["transcript"], version, strict=True)]
    # GENCODE's headers, except that here only the header knows the transcript.
    frame["header"] = [
        f"ENST{n + 5_000_000:011d}.{v}|ENSG{g:011d}.{v}|OTTG1|OTTT1|X-201|X|99|protein_coding|"
        for n, v, g in zip(frame["transcript"], version, frame["gene"], strict=True)
    ]
    frame = frame.sample(frac=1, random_state=3)
    expected = profile.values[0].copy()
    expected[~np.isin(np.arange(len(expected)), frame["row"])] = np.nan
    assert (~np.isnan(expected)).sum() > 18_000
    return frame, expected * (1e6 / np.nansum(expected, dtype=float))


@pytest.mark.parametrize(
    ("file", "columns", "names", "form"),
    [
        ("S17/quant.sf", SALMON, "name", "salmon"),
        ("S17_quant/quant.sf.gz", SALMON, "header", "salmon"),
        ("kallisto/S17/abundance.tsv", KALLISTO, "name", "kallisto"),
        ("S17.abundance.tsv", KALLISTO, "header", "kallisto"),
        ("S17.isoforms.results", RSEM, "name", "rsem"),
    ],
)
def test_a_real_profile_survives_the_split_over_its_transcripts(
    tmp_path, tumour, file, columns, names, form
):
    frame, expected = tumour
    genes = frame["gene"].map("ENSG{:011d}.1".format)
    path = write(tmp_path / file, table(columns, frame[names], frame["tpm"], genes))
    profile = load_profiles(path)
    assert profile.samples == ["S17"]
    assert (profile.unit.unit, profile.unit.scale, profile.format) == ("tpm", "linear", form)
    np.testing.assert_array_equal(np.isnan(profile.values[0]), np.isnan(expected))
    np.testing.assert_allclose(profile.values[0], expected, rtol=1e-4)


def test_rsem_without_a_gene_map_is_summed_with_the_bundled_table(tmp_path, tumour):
    frame, expected = tumour
    written = table(RSEM, frame["name"], frame["tpm"], frame["name"])
    profile = load_profiles(write(tmp_path / "S17.isoforms.results", written))
    np.testing.assert_allclose(profile.values[0], expected, rtol=1e-4)


def test_rsem_isoforms_are_summed_by_the_gene_that_the_file_gives(tmp_path):
    names = ["NM_000546.6", "NM_005228.5", "NM_001126112.3"]
    written = table(RSEM, names, [1e5, 2e5, 7e5], ["TP53", "EGFR", "TP53"])
    raw = read(write(tmp_path / "S17.isoforms.results", written))
    assert dict(zip(raw.gene_ids, raw.values[0].tolist(), strict=True)) == {
        "TP53": 8e5,
        "EGFR": 2e5,
    }


def test_salmon_genes_are_not_summed_again(tmp_path):
    genes = vocabulary().ensembl_ids[:1000]
    tpm = np.random.default_rng(2).lognormal(size=len(genes))
    path = write(tmp_path / "S17" / "quant.genes.sf", table(SALMON, genes, tpm * 1e6 / tpm.sum()))
    raw = read(path)
    assert (raw.gene_ids, raw.samples, raw.declared_unit) == (genes, ["S17"], "tpm")
    assert raw.notes == ()
    np.testing.assert_allclose(raw.values[0], tpm * 1e6 / tpm.sum(), rtol=1e-5)


def test_notes_tell_what_was_summed_left_out_and_missing(tmp_path):
    names = ["ENST00000269305.9", "ENST00000359597.8", "ENST00000357654.9", "ERCC-00002"]
    written = table(SALMON, names, [3e5, 2e5, 1e5, 5e3])
    raw = read(write(tmp_path / "S17" / "quant.sf", written))
    assert raw.gene_ids == ["ENSG00000012048", "ENSG00000141510"]
    assert raw.values.tolist() == [[1e5, 5e5]]
    incomplete, summed, left_out = raw.notes
    assert "add up to 605,000 and not to a million" in incomplete
    assert summed == "3 transcripts were summed to 2 genes."
    assert "1 of 4 transcripts have no known gene" in left_out
    assert "0.83% of the TPM of sample 'S17'" in left_out


def test_a_gene_without_a_transcript_in_the_file_is_absent_not_zero(tmp_path, tumour):
    frame, _ = tumour
    gone = frame["gene"].unique()[:200]
    kept = frame[~frame["gene"].isin(gone)]
    path = write(tmp_path / "S17" / "quant.sf", table(SALMON, kept["name"], kept["tpm"]))
    values = load_profiles(path).values[0]
    rows = frame.loc[frame["gene"].isin(gone), "row"].astype(int).unique()
    assert np.isnan(values[rows]).all()
    assert (~np.isnan(values)).sum() == kept["gene"].nunique()


NAMES = ["ENST00000269305.9", "ENST00000359597.8", "ENST00000357654.9"]
TPM = [3e5, 5e5, 2e5]
BAD = {
    "column missing": (
        lambda: table(["Name", "Length", "EffectiveLength", "NumReads"], NAMES, TPM),
        InputFileError,
        r"'quant\.sf' looks like the output of Salmon and has no column 'TPM'; its columns are N",
    ),
    "no rows": (
        lambda: table(SALMON, [], np.array([])),
        InputFileError,
        r"'quant\.sf' has a header and no rows below it\. The run of Salmon may have failed",
    ),
    "negative": (
        lambda: table(SALMON, NAMES, [3e5, -1.5, 2e5]),
        ExpressionValueError,
        r"has -1\.5 in column 'TPM', line 3 \('ENST00000359597\.8'; 1 such rows\)",
    ),
    "missing": (
        lambda: table(SALMON, NAMES, [3e5, None, 2e5]),
        ExpressionValueError,
        r"has no value in column 'TPM', line 3",
    ),
    "zero": (
        lambda: table(SALMON, NAMES, [0, 0, 0]),
        ExpressionValueError,
        r"Every value in column 'TPM' of 'quant\.sf' is zero.*log of Salmon",
    ),
    "text": (
        lambda: table(SALMON, NAMES, ["3", "many", "2"]),
        ExpressionValueError,
        r"the cell 'many' in column 'TPM', line 3",
    ),
    "mouse": (
        lambda: table(SALMON, ["ENSMUST00000108658.9", "ENSMUST00000005371.11"], [4e5, 6e5]),
        GeneIdentifierError,
        r"mouse Ensembl transcripts \(ENSMUST00000108658\.9",
    ),
    "refseq": (
        lambda: table(SALMON, ["NM_000546.6", "NR_176326.1"], [4e5, 6e5]),
        GeneIdentifierError,
        r"RefSeq transcripts \(NM_000546\.6.*tx2gene",
    ),
    "repeated": (
        lambda: table(SALMON, [*NAMES, NAMES[0]], [*TPM, 0]),
        GeneIdentifierError,
        r"1 transcripts in more than one row \(ENST00000269305\.9\)",
    ),
    "unknown": (
        lambda: table(SALMON, [*NAMES, "ENST00000999999.1"], [*TPM, 2e5]),
        GeneIdentifierError,
        r"1 of 4 transcripts .* hold 16\.67% of the TPM of sample 'S17'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_quantifications_say_what_is_wrong_and_what_to_do(tmp_path, case):
    build, kind, message = BAD[case]
    path = write(tmp_path / "S17" / "quant.sf", build())
    with pytest.raises(kind, match=message) as caught:
        read(path)
    assert "quant.sf" in caught.value.problem
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.remedy.endswith(".")


@pytest.mark.parametrize("cell", ["nan", "-nan", "NaN", "-inf"])
def test_kallisto_with_nothing_aligned(tmp_path, cell):
    frame = table(KALLISTO, NAMES, [cell] * 3)
    with pytest.raises(ExpressionValueError, match=r"column 'tpm'.*line 2.*share of reads that"):
        read(write(tmp_path / "S17" / "abundance.tsv", frame))


def test_a_row_cut_off_is_named(tmp_path):
    path = write(tmp_path / "S17" / "quant.sf", table(SALMON, NAMES, TPM))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputFileError, match=r"Line 4 of 'quant\.sf' has 2 cells where 5"):
        read(path)


def test_a_compressed_file_cut_off_is_told(tmp_path, tumour):
    frame, _ = tumour
    path = write(tmp_path / "S17" / "quant.sf.gz", table(SALMON, frame["name"], frame["tpm"]))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputFileError, match="truncated"):
        read(path)


def test_an_empty_file_is_told(tmp_path):
    path = tmp_path / "quant.sf"
    path.touch()
    with pytest.raises(InputFileError, match="is empty"):
        read(path)


@pytest.mark.parametrize("name", ["abundance.h5", "S17.h5"])
def test_kallisto_hdf5_is_refused_by_name(tmp_path, name):
    with h5py.File(tmp_path / name, "w") as file:
        file.create_group("aux")
        file.create_group("bootstrap")
        file["est_counts"] = np.ones(100_000)
    with pytest.raises(InputFileError, match=r"kallisto's HDF5.*abundance\.tsv from the same"):
        read(tmp_path / name)


def test_an_empty_quantifier_name_never_wins_over_the_folder():
    salmon = ("quant.genes.sf", "quant.sf", ".sf")
    kallisto = ("abundance",)
    for path, generic, expected in [
        ("results/S17/quant.sf", salmon, "S17"),
        ("results/S17_quant/quant.sf", salmon, "S17"),
        ("results/S17.salmon_quant/quant.sf.gz", salmon, "S17"),
        ("S17/salmon/quant.sf", salmon, "S17"),
        ("salmon/S17/quant.genes.sf", salmon, "S17"),
        ("results/S17.quant.sf", salmon, "S17"),
        ("results/S17_quant.sf.gz", salmon, "S17"),
        ("results/S17.sf", salmon, "S17"),
        ("kallisto/S17/abundance.tsv", kallisto, "S17"),
        ("kallisto/S17_abundance.tsv.gz", kallisto, "S17"),
        ("S17.rsem/rsem.genes.results", ("rsem.genes.results", ".genes.results"), "S17"),
        ("S17ReadsPerGene.out.tab", ("ReadsPerGene.out",), "S17"),
        ("mustard/quant.sf", salmon, "mustard"),
        ("/salmon/quant.sf", salmon, "sample"),
    ]:
        assert sample_name(Path(path), generic=generic) == expected, path


def test_nf_core_gene_matrix_reads_as_a_matrix(tmp_path):
    genes = vocabulary().ensembl_ids[:1000]
    draw = np.random.default_rng(4)
    frame = pd.DataFrame({"gene_id": genes, "gene_name": vocabulary().symbols[:1000]})
    frame["S1"], frame["S2"] = draw.lognormal(size=(2, 1000))
    raw = read(write(tmp_path / "salmon.merged.gene_tpm.tsv", frame))
    assert (raw.gene_ids, raw.samples) == (genes, ["S1", "S2"])


@pytest.mark.parametrize(
    "columns",
    [["tx", "gene_id"], ["transcript_id", "gene_id"], ["target_id"], ["tx"]],
    ids=["nf-core Salmon", "nf-core RSEM and GTEx", "kallisto", "tximport"],
)
def test_a_transcript_matrix_is_read_by_transcript_and_can_be_summed(tmp_path, tumour, columns):
    frame, expected = tumour
    content = dict.fromkeys(("tx", "transcript_id", "target_id"), frame["name"])
    content["gene_id"] = frame["gene"].map("ENSG{:011d}.1".format)
    matrix = pd.DataFrame({column: content[column] for column in columns})
    matrix["S1"], matrix["S2"] = frame["tpm"], frame["tpm"] / 2
    raw = read(write(tmp_path / "salmon.merged.transcript_tpm.tsv", matrix))
    assert raw.samples == ["S1", "S2"]
    assert raw.gene_ids == frame["name"].tolist()

    profiles = resolve(raw)
    for row in profiles.values:
        np.testing.assert_allclose(row, expected, rtol=1e-4)
    genes = frame["gene"].nunique()
    assert profiles.notes == (f"{len(frame):,} transcripts were summed to {genes:,} genes.",)


def test_a_whole_transcriptome_is_read_within_a_second(tmp_path):
    numbers = pq.read_table(DATA / "transcripts.parquet")["transcript"].to_numpy()[:250_000]
    tpm = np.random.default_rng(8).lognormal(size=len(numbers))
    names = [f"ENST{n:011d}.2" for n in numbers]
    path = write(tmp_path / "S17" / "quant.sf", table(SALMON, names, tpm * 1e6 / tpm.sum()))
    zipped = path.with_name("quant.sf.gz")
    zipped.write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
    read(path)  # the table is loaded once
    times = []
    for file in (path, zipped, path):
        start = time.perf_counter()
        assert len(read(file).gene_ids) > 50_000
        times.append(time.perf_counter() - start)
    print(f"250,000 transcripts: {', '.join(f'{t:.2f} s' for t in times)}")
    assert min(times) < 2.0  # about 0.5 s on two cores; twice the second it may take
