"""gdc:<uuid> against a local API that answers as the GDC does."""

import numpy as np
import pytest
from http_server import Archive, Fault, gdc_metadata
from public_layouts import example, gdc_star

from specformer_encoder.download import gdc
from specformer_encoder.download.web import Policy
from specformer_encoder.errors import DownloadError
from specformer_encoder.genes import vocabulary
from specformer_encoder.profiles import load_profiles
from specformer_encoder.sources import Located, is_remote, locate

UUID = "0f5a2c1e-9b1d-4e57-8c3a-1d2e3f405162"
NAME = f"{UUID}.rna_seq.augmented_star_gene_counts.tsv"
STAR = gdc_star()


@pytest.fixture
def api(monkeypatch, tmp_path):
    """A GDC with one open STAR file, named by the environment; a cache of its own."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(gdc, "_checked", {})
    with Archive() as server:
        monkeypatch.setenv(gdc.ENVIRONMENT, f"{server.url}/")
        server.put(
            f"/files/{UUID}", gdc_metadata(UUID, STAR), **{"Content-Type": "application/json"}
        )
        server.put(f"/data/{UUID}", STAR, **{"Content-Type": "text/tab-separated-values"})
        yield server


def describe(api, **changes):
    api.files[f"/files/{UUID}"] = gdc_metadata(UUID, STAR, **changes)


@pytest.mark.usefixtures("api")
def test_a_file_by_uuid_becomes_a_profile_named_by_its_barcode():
    located = locate(f"gdc:{UUID.upper()}")
    assert located.sample == "TCGA-44-3396-01A"
    assert located.notes == (
        f"gdc:{UUID} is {NAME} of the GDC: project TCGA-LUAD, sample type Primary Tumor, "
        "workflow STAR - Counts.",
    )
    profiles = located.label(load_profiles(located.path))
    assert profiles.samples == ["TCGA-44-3396-01A"]
    assert (profiles.format, profiles.unit.unit) == ("gdc_star", "counts")
    # The counts were drawn from these TPM; rounding loses what is below one read.
    ids, _, tpm = example()
    there = np.isin(vocabulary().ensembl_ids, ids)
    high = tpm > 5
    np.testing.assert_allclose(profiles.values[0][there][high], tpm[high], rtol=0.2)
    assert np.isnan(profiles.values[0][~there]).all()


def test_what_the_gdc_says_comes_along(api, tmp_path):
    file = gdc.fetch(UUID)
    assert file.path == tmp_path / "cache" / "specformer" / "gdc" / UUID / NAME
    assert file.path.read_bytes() == STAR
    assert (file.project, file.case) == ("TCGA-LUAD", "TCGA-44-3396")
    assert (file.sample, file.sample_type) == ("TCGA-44-3396-01A", "Primary Tumor")
    assert api.log[0].path == f"/files/{UUID}?expand=cases.project,cases.samples"
    assert api.log[1].path == f"/data/{UUID}"


def test_a_cached_file_needs_no_network(api):
    first = gdc.fetch(UUID)
    asked = len(api.log)
    gdc._checked.clear()  # as a new process
    assert gdc.fetch(UUID) == first
    assert len(api.log) == asked


@pytest.mark.usefixtures("api")
def test_a_damaged_cache_is_mended():
    path = gdc.fetch(UUID).path
    path.write_bytes(STAR[:-1] + b"?")
    assert gdc.fetch(UUID).path.read_bytes() == STAR
    path.write_bytes(STAR[:1000])
    gdc._checked.clear()
    assert gdc.fetch(UUID).path.read_bytes() == STAR
    (path.parent / "metadata.json").write_text("{")
    assert gdc.fetch(UUID).path.read_bytes() == STAR


def test_a_broken_connection_and_a_busy_api(api):
    api.fail(f"/files/{UUID}", Fault(status=503), Fault(drop_after=20))
    api.fail(f"/data/{UUID}", Fault(drop_after=100_000), Fault(status=502))
    assert gdc.fetch(UUID, policy=Policy(attempts=4, first_wait_s=0.01)).path.read_bytes() == STAR
    assert api.gets(f"/data/{UUID}")[-1].start > 0


def test_a_wrong_md5_is_refused_and_not_cached(api):
    describe(api, md5sum="0" * 32)
    with pytest.raises(DownloadError, match="MD5"):
        gdc.fetch(UUID)
    assert not list(gdc.cache_folder().rglob("*.tsv"))


def test_a_wrong_size_is_refused(api):
    describe(api, file_size=len(STAR) + 1)
    with pytest.raises(DownloadError, match="announced"):
        gdc.fetch(UUID)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"access": "controlled"}, "controlled access.*dbGaP"),
        ({"access": None}, "unknown access"),
        ({"data_type": "Aligned Reads"}, "Aligned Reads"),
        ({"data_type": "miRNA Expression Quantification"}, "miRNA Expression"),
        ({"experimental_strategy": "scRNA-Seq"}, "scRNA-Seq"),
        ({"file_name": "../../.bashrc"}, "no usable name"),
        ({"file_name": ".hidden"}, "no usable name"),
        ({"file_name": "metadata.json"}, "no usable name"),
        ({"file_name": None}, "no usable name"),
        ({"file_size": 10**12}, "no usable name, size"),
        ({"file_size": "4"}, "no usable name, size"),
        ({"md5sum": ""}, "MD5"),
    ],
)
def test_what_is_no_open_expression_profile_is_refused_with_the_reason(api, changes, message):
    describe(api, **changes)
    with pytest.raises(DownloadError, match=message):
        gdc.fetch(UUID)
    assert api.gets(f"/data/{UUID}") == []


@pytest.mark.parametrize("status", [400, 404])
def test_an_unknown_uuid(api, status):
    api.fail(f"/files/{UUID}", Fault(status=status))
    with pytest.raises(DownloadError, match=f"knows no file {UUID}.*not that of a case"):
        gdc.fetch(UUID)
    assert len(api.log) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": 3}', b"{}", b"{" * 2_000_000])
def test_nonsense_instead_of_metadata(api, body):
    api.files[f"/files/{UUID}"] = body
    with pytest.raises(DownloadError, match="something else than the metadata"):
        gdc.fetch(UUID)


@pytest.mark.parametrize(
    "changes",
    [
        {"cases": None},
        {"cases": [{}]},
        {"cases": "none"},
        {"cases": [{"samples": [{"submitter_id": "A"}, {"submitter_id": "B"}]}]},
    ],
)
def test_a_sample_that_is_not_named_keeps_the_name_of_its_file(api, changes):
    describe(api, **changes)
    located = locate(f"gdc:{UUID}")
    assert located.sample is None
    assert located.label(load_profiles(located.path)).samples == [UUID]


@pytest.mark.parametrize(
    "text",
    [
        "gdc:",
        "gdc:1",
        f"gdc: {UUID}",
        f"gdc:{UUID}\n",
        f"gdc:{UUID}/../x",
        f"gdc:{UUID}?a=b",
        f"gdc:{UUID[:-1]}g",
        f"gdc:{UUID[:-1]}１",
        f"gdc:{UUID.replace('-', '')}",
        UUID,
    ],
)
def test_only_a_uuid_is_taken(api, text):
    with pytest.raises(DownloadError, match="does not name a GDC file"):
        gdc.parse_gdc(text)
    if is_remote(text):
        with pytest.raises(DownloadError):
            locate(text)
    assert api.log == []


def test_no_redirect_leads_to_another_host(api):
    with Archive() as inner:
        secret = inner.put("/latest/meta-data", b"secret")
        for path in (f"/files/{UUID}", f"/data/{UUID}"):
            api.fail(path, Fault(status=302, headers={"Location": secret}))
            with pytest.raises(DownloadError, match="not followed"):
                gdc.fetch(UUID)
        assert inner.log == []


def test_where_redirects_may_lead():
    may_visit = gdc._trusted(gdc.httpx.URL("https://mirror.example.org/gdc"))
    url = gdc.httpx.URL
    assert may_visit(url("https://mirror.example.org/other"))
    assert may_visit(url("https://api.gdc.cancer.gov/data/1"))
    for bad in (
        "http://mirror.example.org/",
        "https://mirror.example.org:8443/",
        "https://169.254.169.254/",
        "https://gdc.cancer.gov.example.org/",
        "https://api.gdc.cancer.gov:22/",
        "http://api.gdc.cancer.gov/",
        "https://evilgdc.cancer.gov/",
    ):
        assert not may_visit(url(bad)), bad


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    "address", ["http://mirror.example.org", "ftp://127.0.0.1", "file:///etc", "x", "http://[::1"]
)
def test_the_api_must_be_https_or_local(monkeypatch, address):
    monkeypatch.setenv(gdc.ENVIRONMENT, address)
    with pytest.raises(DownloadError, match=gdc.ENVIRONMENT):
        gdc.fetch(UUID)


def test_a_redirect_within_the_api_is_followed(api):
    api.put("/stored/1", STAR)
    api.fail(f"/data/{UUID}", Fault(status=307, headers={"Location": "/stored/1"}))
    assert gdc.fetch(UUID).path.read_bytes() == STAR


@pytest.mark.usefixtures("api")
def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match="cannot be read or written"):
        gdc.fetch(UUID)


def test_a_path_stays_a_path(tmp_path):
    assert locate(str(tmp_path)) == Located(tmp_path)
    assert not is_remote("gdc.tsv")
