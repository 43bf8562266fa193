"""Human names of cohorts.

The study names are those of The Cancer Genome Atlas and TARGET; tissue names of GTEx and of the
Human Protein Atlas are kept as published.
"""

from __future__ import annotations

STUDY_NAMES: dict[str, str] = {
    "TARGET-ALL": "Acute Lymphoblastic Leukemia",
    "TCGA-ACC": "Adrenocortical Carcinoma",
    "TCGA-BLCA": "Bladder Urothelial Carcinoma",
    "TCGA-BRCA": "Breast Invasive Carcinoma",
    "TCGA-CESC": "Cervical Squamous Cell Carcinoma and Endocervical Adenocarcinoma",
    "TCGA-CHOL": "Cholangiocarcinoma",
    "TCGA-COAD": "Colon Adenocarcinoma",
    "TCGA-DLBC": "Lymphoid Neoplasm Diffuse Large B-Cell Lymphoma",
    "TCGA-ESCA": "Esophageal Carcinoma",
    "TCGA-GBM": "Glioblastoma Multiforme",
    "TCGA-HNSC": "Head and Neck Squamous Cell Carcinoma",
    "TCGA-KICH": "Kidney Chromophobe",
    "TCGA-KIRC": "Kidney Renal Clear Cell Carcinoma",
    "TCGA-KIRP": "Kidney Renal Papillary Cell Carcinoma",
    "TCGA-LAML": "Acute Myeloid Leukemia",
    "TCGA-LGG": "Brain Lower Grade Glioma",
    "TCGA-LIHC": "Liver Hepatocellular Carcinoma",
    "TCGA-LUAD": "Lung Adenocarcinoma",
    "TCGA-LUSC": "Lung Squamous Cell Carcinoma",
    "TCGA-MESO": "Mesothelioma",
    "TCGA-OV": "Ovarian Serous Cystadenocarcinoma",
    "TCGA-PAAD": "Pancreatic Adenocarcinoma",
    "TCGA-PCPG": "Pheochromocytoma and Paraganglioma",
    "TCGA-PRAD": "Prostate Adenocarcinoma",
    "TCGA-READ": "Rectum Adenocarcinoma",
    "TCGA-SARC": "Sarcoma",
    "TCGA-SKCM": "Skin Cutaneous Melanoma",
    "TCGA-STAD": "Stomach Adenocarcinoma",
    "TCGA-TGCT": "Testicular Germ Cell Tumors",
    "TCGA-THCA": "Thyroid Carcinoma",
    "TCGA-THYM": "Thymoma",
    "TCGA-UCEC": "Uterine Corpus Endometrial Carcinoma",
    "TCGA-UCS": "Uterine Carcinosarcoma",
    "TCGA-UVM": "Uveal Melanoma",
}


def study_name(study: str) -> str:
    """Return the name of a study code such as ``TCGA-LUAD``; an unknown code names itself."""
    return STUDY_NAMES.get(study, study)


def cohort_name(*, study: str, tissue: str, sample_type: str) -> str:
    """Return the human name of a cohort of profiles.

    Parameters
    ----------
    study
        ``TCGA-LUAD``, ``TARGET-ALL`` or ``GTEX``.
    tissue
        The tissue as GTEx names it; empty for the cancer studies.
    sample_type
        ``tumor`` or ``normal``.
    """
    if study.startswith("GTEX"):
        return f"{tissue or 'tissue not stated'}, normal (GTEx)"
    suffix = "" if sample_type == "tumor" else ", adjacent normal tissue"
    return study_name(study) + suffix
