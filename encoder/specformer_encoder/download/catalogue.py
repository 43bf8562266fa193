"""Which public files make up which data set. Data only: one table, addresses as published.

Three archives hold them. The UCSC Xena Toil hub has TCGA, TARGET and GTEx recomputed with one
pipeline (Vivian et al., Nature Biotechnology 35:314, 2017); its gene matrices are genes × samples,
gzip TSV, the first column ``sample`` holding versioned Ensembl ids of GENCODE v23 (the normalized
counts: symbols). The Xena PanCanAtlas hub has the matrix that the PanCanAtlas papers used, the
labels, the survival data and the PARADIGM pathways scored by ssGSEA. The GTEx portal has GTEx v8.

None of them publishes checksums as a list. Amazon S3 and Google Cloud Storage state the MD5 of many
files in their answers, which is checked then; a ``.gz`` also carries its own CRC.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from typing import Literal

Role = Literal["expression", "phenotype", "survival", "pathways", "probemap"]

_TOIL = "https://toil-xena-hub.s3.us-east-1.amazonaws.com/download/"
_PANCAN = "https://tcga-pancan-atlas-hub.s3.us-east-1.amazonaws.com/download/"
_GTEX = "https://storage.googleapis.com/gtex_analysis_v8/"


@dataclass(frozen=True, slots=True)
class PublicFile:
    """One published file.

    Attributes
    ----------
    url
        Its address.
    role
        What it is for.
    content
        What it holds, in words.
    unit
        Unit and scale of the values, as `units.parse_unit` reads them; None where there are none.
    about_bytes
        Roughly how large it is; None where nobody has published it. The server has the last word.
    md5
        Published checksum, None where there is none.
    """

    url: str
    role: Role
    content: str
    unit: str | None = None
    about_bytes: int | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        """Its name on disk: the last part of the address, decoded."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.url).path)
        return path.rpartition("/")[2]


TCGA_TPM = PublicFile(
    _TOIL + "tcga_RSEM_gene_tpm.gz",
    "expression",
    "TCGA, Toil RSEM TPM",
    unit="log2(tpm+0.001)",
    about_bytes=740_000_000,
)
TCGA_FPKM = PublicFile(
    _TOIL + "tcga_RSEM_gene_fpkm.gz",
    "expression",
    "TCGA, Toil RSEM FPKM",
    unit="log2(fpkm+0.001)",
)
TCGA_EXPECTED_COUNT = PublicFile(
    _TOIL + "tcga_gene_expected_count.gz",
    "expression",
    "TCGA, Toil RSEM expected counts",
    unit="log2(expected_counts+1)",
)
TCGA_NORM_COUNT = PublicFile(
    _TOIL + "tcga_RSEM_Hugo_norm_count.gz",
    "expression",
    "TCGA, Toil RSEM normalized counts",
    unit="log2(rsem_normalized+1)",
    about_bytes=892_000_000,
)
TCGA_EBPP = PublicFile(
    _PANCAN + "EB%2B%2BAdjustPANCAN_IlluminaHiSeq_RNASeqV2.geneExp.xena.gz",
    "expression",
    "TCGA, PanCanAtlas RSEM normalized counts, batch-adjusted (EB++)",
    unit="log2(rsem_normalized+1)",
)
TCGA_PHENOTYPE = PublicFile(
    _PANCAN + "TCGA_phenotype_denseDataOnlyDownload.tsv.gz",
    "phenotype",
    "TCGA, sample type and primary disease of each sample",
)
TCGA_SURVIVAL = PublicFile(
    _PANCAN + "Survival_SupplementalTable_S1_20171025_xena_sp",
    "survival",
    "TCGA, curated clinical data and outcomes (Liu et al., Cell 173:400, 2018)",
)
SSGSEA = PublicFile(
    _PANCAN + "PanCan33_ssGSEA_1387GeneSets_NonZero_sample_level.txt.gz",
    "pathways",
    "TCGA, ssGSEA scores of 1,387 PARADIGM pathways",
)
SSGSEA_Z = PublicFile(
    _PANCAN + "PanCan33_ssGSEA_1387GeneSets_NonZero_sample_level_Z.txt.gz",
    "pathways",
    "TCGA, the same scores as z",
)
GTEX_TOIL_TPM = PublicFile(
    _TOIL + "gtex_RSEM_gene_tpm.gz",
    "expression",
    "GTEx, Toil RSEM TPM",
    unit="log2(tpm+0.001)",
)
TOIL_TPM = PublicFile(
    _TOIL + "TcgaTargetGtex_rsem_gene_tpm.gz",
    "expression",
    "TCGA, TARGET and GTEx, Toil RSEM TPM",
    unit="log2(tpm+0.001)",
    about_bytes=1_323_254_426,
)
TOIL_PHENOTYPE = PublicFile(
    _TOIL + "TcgaTargetGTEX_phenotype.txt.gz",
    "phenotype",
    "TCGA, TARGET and GTEx, study, tissue and sample type of each sample",
    about_bytes=135_753,
)
TOIL_PROBEMAP = PublicFile(
    _TOIL + "probeMap/gencode.v23.annotation.gene.probemap",
    "probemap",
    "GENCODE v23, Ensembl id, symbol and place of each gene",
    about_bytes=3_244_244,
)
GTEX_TPM = PublicFile(
    _GTEX + "rna_seq_data/GTEx_Analysis_2017-06-05_v8_RNASeQCv1.1.9_gene_tpm.gct.gz",
    "expression",
    "GTEx v8, RNA-SeQC TPM (GCT)",
    unit="tpm",
    about_bytes=1_500_000_000,
)
GTEX_ATTRIBUTES = PublicFile(
    _GTEX + "annotations/GTEx_Analysis_v8_Annotations_SampleAttributesDS.txt", "phenotype",
    "GTEx v8, tissue and quality of each sample",
)  # fmt: skip

DATA_SETS: dict[str, tuple[PublicFile, ...]] = {
    # The five normalizations of the paper, with labels.
    "tcga": (
        TCGA_TPM,
        TCGA_FPKM,
        TCGA_EXPECTED_COUNT,
        TCGA_NORM_COUNT,
        TCGA_EBPP,
        TCGA_PHENOTYPE,
        TCGA_SURVIVAL,
    ),
    "gtex": (GTEX_TPM, GTEX_ATTRIBUTES),
    # One pipeline over all three projects.
    "toil": (
        TOIL_TPM,
        TCGA_TPM,
        TCGA_FPKM,
        TCGA_EXPECTED_COUNT,
        GTEX_TOIL_TPM,
        TOIL_PHENOTYPE,
        TOIL_PROBEMAP,
    ),
    # The pathway scores that the paper predicts.
    "paradigm": (SSGSEA, SSGSEA_Z),
}


def files_of(names: list[str]) -> list[PublicFile]:
    """Return the files of the data sets, each once."""
    return list(dict.fromkeys(file for name in names for file in DATA_SETS[name]))
