"""Real columns of the examples in the layouts of Xena, GTEx and the GDC."""

from __future__ import annotations

import functools
import gzip
from pathlib import Path

import numpy as np

from specformer_encoder.genes import vocabulary
from specformer_encoder.profiles import load_profiles

EXAMPLES = Path(__file__).parents[1] / "examples"
SAMPLE = "TCGA-44-3396-01"


@functools.cache
def example():
    """Ensembl ids, symbols and TPM of the lung tumour: the genes that it measures."""
    profile = load_profiles(EXAMPLES / "luad_tumor.tsv.gz").values[0]
    there = np.flatnonzero(~np.isnan(profile))
    ids, symbols = np.array(vocabulary().ensembl_ids), np.array(vocabulary().symbols)
    return ids[there], symbols[there], profile[there].astype(np.float64)


@functools.cache
def xena_tpm() -> bytes:
    """``tcga_RSEM_gene_tpm.gz``: log2(TPM + 0.001), versioned Ensembl ids below ``sample``."""
    ids, _, tpm = example()
    rows = [f"sample\t{SAMPLE}"]
    rows += [f"{i}.9\t{v:.4f}" for i, v in zip(ids, np.log2(tpm + 0.001), strict=True)]
    return gzip.compress("\n".join(rows).encode() + b"\n", mtime=0)


@functools.cache
def gtex_gct() -> bytes:
    """The GTEx v8 GCT: two lines of preamble, Name and Description, linear TPM."""
    ids, symbols, tpm = example()
    rows = ["#1.2", f"{len(ids)}\t1", "Name\tDescription\tGTEX-1117F-0226-SM-5GZZ7"]
    rows += [f"{i}.4\t{s}\t{v:.5g}" for i, s, v in zip(ids, symbols, tpm, strict=True)]
    return gzip.compress("\n".join(rows).encode() + b"\n", mtime=0)


@functools.cache
def gdc_star() -> bytes:
    """A GDC STAR file; its counts are what the TPM stand for, in a library of 20 million reads."""
    ids, symbols, tpm = example()
    lengths = vocabulary().lengths[np.isin(vocabulary().ensembl_ids, ids)]
    counts = np.round(tpm * lengths / (tpm * lengths).sum() * 2e7).astype(int)
    names = "gene_id gene_name gene_type unstranded stranded_first stranded_second"
    names += " tpm_unstranded fpkm_unstranded fpkm_uq_unstranded"
    rows = ["# gene-model: GENCODE v36", "\t".join(names.split())]
    totals = ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
    rows += [f"{name}\t\t\t1000\t1000\t1000\t\t\t" for name in totals]
    for gene, symbol, count, value in zip(ids, symbols, counts, tpm, strict=True):
        cells = [f"{gene}.15", symbol, "protein_coding", count, count // 2, count - count // 2]
        rows.append("\t".join(map(str, [*cells, f"{value:.4f}", f"{value:.4f}", f"{value:.4f}"])))
    return ("\n".join(rows) + "\n").encode()
