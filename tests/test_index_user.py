"""A user's own labelled file joins the index by the command line."""

import pytest
from server_support import COADREAD

from specformer_encoder.profiles import load_profiles
from specformer_index.errors import ReferenceIndexError
from specformer_index.user_cohorts import read_user_labels
from specformer_mcp.cli import main


def written(tmp_path, text):
    path = tmp_path / "labels.tsv"
    path.write_text(text)
    return path


def test_labels(tmp_path):
    text = (
        "sample\tgroup\tpatient\tsample_type\tsubtype\n"
        "s1\tresponders\tP1\tTumor\tA\n"
        "TCGA-44-3396-01\tresponders\tP2\t\t\n"
        "s3\t\tP3\t\t\n"
    )
    labels = read_user_labels(written(tmp_path, text), cohort_column="group")
    assert list(labels) == ["s1", "TCGA-44-3396-01"]  # s3 has no cohort
    assert (labels["s1"].cohort, labels["s1"].sample_type) == ("responders", "tumor")
    assert labels["TCGA-44-3396-01"].patient == "TCGA-44-3396"  # the barcode decides
    commas = written(tmp_path, "name,cohort\ns1,mine\n")
    assert read_user_labels(commas)["s1"].cohort == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column 'cohort'; it has none"),
        ("sample\tgroup\ns1\tx\n", "no column 'cohort'; it has sample, group"),
        ("sample\tcohort\ns1\t\n", "gives no sample a cohort"),
        ("sample\tcohort\ns1\tx\ns1\ty\n", "line 3: the sample 's1' stands there twice"),
        ("sample\tcohort\tsample_type\ns1\tx\tmetastasis\n", "Use one of tumor, normal"),
        ("sample\tcohort\ns1\t" + "x" * 200 + "\n", "is too long"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path, text, said):
    with pytest.raises(ReferenceIndexError, match=said):
        read_user_labels(written(tmp_path, text))


def test_the_way_of_a_cohort_in_and_out(tmp_path, capsys):
    samples = load_profiles(COADREAD).samples
    lines = ["sample\tcohort"] + [f"{name}\tMy colon" for name in samples[:2]] + ["s9\tMy colon"]
    labels = written(tmp_path, "\n".join(lines) + "\n")
    out = tmp_path / "mine"

    def index(*words):
        code = main(["index", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    assert index("add", COADREAD, "--labels", labels)[0] == 1  # never the bundled one
    code, said, told = index("add", COADREAD, "--labels", labels, "--out", out, "--name", "mine")
    assert code == 0
    assert "My colon: 2 profiles" in said
    assert f"1 samples without a label, not added: {samples[2]}" in told
    assert "1 labelled samples that no file holds: s9" in told
    code, said, _ = index("info", "--index", out)
    assert "added 2 profiles of user:mine: My colon" in said
    assert "My colon" in index("info", "--index", out, "--values", "cohort")[1]
    assert main(["neighbors", str(COADREAD), "--sample", samples[0], "--index", str(out)]) == 0
    assert "My colon" in capsys.readouterr().out
    assert index("verify", "--index", out)[:2] == (0, said.split()[1].rstrip(",") + ": sound\n")
    code, said, _ = index("remove", "--index", out, "--cohort", "My colon")
    assert (code, "removed 2 profiles" in said) == (0, True)
    code, said, _ = index("optimize", "--index", out, "--keep", 1)
    assert (code, said.count("dropped")) == (0, 2)
    assert index("verify", "--index", out)[0] == 0
    code, said, _ = index("export", "--index", out, "--out", tmp_path / "all.parquet")
    assert (code, (tmp_path / "all.parquet").is_file()) == (0, True)
