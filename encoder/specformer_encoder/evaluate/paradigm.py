"""The 1,387 PARADIGM pathways as gene sets (Vaske et al., Bioinformatics 26:i237, 2010).

PARADIGM's pathways are networks: beside genes they hold protein complexes, families, small
molecules, processes and RNAs. As gene sets they keep the members that are genes of the vocabulary,
under whatever symbol was current when they were published; an isoform (`ABCG1-2`) counts as its
gene. Complexes and families are not taken apart. Pathways that keep fewer genes than ssGSEA scores
are left out; what was left out is counted.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from specformer_encoder.errors import InputFileError
from specformer_encoder.gene_sets import GeneSets
from specformer_encoder.genes import vocabulary
from specformer_encoder.genes.rows import resolve
from specformer_encoder.genes.table import OUTSIDE
from specformer_encoder.ssgsea import MINIMUM_MEMBERS

#: How PARADIGM marks members that are no gene: "Cyclin_A_(family)", "Calcium_(smallMolecule)".
_NO_GENE = re.compile(r"_\((complex|family|smallMolecule|abstract|rna|miRNA)\)$")


@dataclass(frozen=True, slots=True)
class Paradigm:
    """The PARADIGM pathways over the gene vocabulary.

    Attributes
    ----------
    sets
        P pathways of at least `MINIMUM_MEMBERS` genes.
    published, members
        Pathways and different members in the file.
    no_gene
        Members that are complexes, families, small molecules, processes or RNAs.
    genes, outside, unresolved
        What became of the others: genes of the vocabulary, genes that do not code for protein,
        names that stand for no gene or for more than one.
    """

    sets: GeneSets
    published: int
    members: int
    no_gene: int
    genes: int
    outside: int
    unresolved: int

    def account(self) -> dict[str, int]:
        """The counts, by name."""
        return {
            "pathways published": self.published,
            f"pathways with at least {MINIMUM_MEMBERS} genes": len(self.sets),
            "members": self.members,
            "members that are no gene (complexes, families, molecules)": self.no_gene,
            "members that are genes of the vocabulary": self.genes,
            "members that do not code for protein": self.outside,
            "members that no gene could be found for": self.unresolved,
        }


def read_paradigm(path: Path) -> Paradigm:
    """Read pathways as a JSON object, name → list of members, and resolve the members to genes.

    Parameters
    ----------
    path
        `paradigm_1387.json`.

    Raises
    ------
    InputFileError
        If there is no such file, it is of another form, or no pathway keeps enough genes.
    """
    remedy = "Give a JSON object that maps the name of each pathway to the list of its members."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputFileError(f"{path.name} cannot be read ({error.strerror}).", remedy) from None
    except ValueError as error:  # not UTF-8, or not JSON
        raise InputFileError(f"{path.name} is not JSON ({error}).", remedy) from None
    if not isinstance(content, dict) or not all(
        isinstance(members, list) and all(isinstance(member, str) for member in members)
        for members in content.values()
    ):
        raise InputFileError(f"{path.name} does not map names to lists of members.", remedy)
    members = sorted({member for some in content.values() for member in some})
    named = [member for member in members if not _NO_GENE.search(member)]
    # Each name for itself, not as the rows of one file: isoforms of a gene stand side by side here.
    rows = resolve(named)
    gene = {name: int(g) for name, g in zip(named, rows.gene, strict=True) if g >= 0}
    kept = {
        name: genes
        for name, some in content.items()
        if len(genes := {gene[member] for member in some if member in gene}) >= MINIMUM_MEMBERS
    }
    if not kept:
        raise InputFileError(
            f"None of the {len(content)} pathways of {path.name} has {MINIMUM_MEMBERS} genes that "
            "SpecFormer knows.",
            "Name the members by HGNC symbol, Ensembl id or Entrez id.",
        )
    sets = GeneSets.from_members(
        list(kept), [sorted(genes) for genes in kept.values()], vocabulary_size=len(vocabulary())
    )
    outside = int((rows.gene == OUTSIDE).sum())
    return Paradigm(
        sets,
        published=len(content),
        members=len(members),
        no_gene=len(members) - len(named),
        genes=len(gene),
        outside=outside,
        unresolved=len(named) - len(gene) - outside,
    )
