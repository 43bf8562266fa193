"""What the answers rest on: release, cancer types, cohorts, collections, gene sets."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from specformer_encoder.errors import SpecformerError
from specformer_index.names import study_name
from specformer_mcp.analysis.common import close_matches, provenance
from specformer_mcp.engine import Engine
from specformer_mcp.results import Detail, Reference

What = Literal["overview", "cohorts", "types", "collections", "gene_sets"]
Row = dict[str, Any]

PAGE = {"concise": 12, "full": 60}
SUBTYPES_SHOWN = 8
GENES_SHOWN = 12
_CONCISE_KEYS = {
    "cohorts": ("cohort", "name", "n_patients"),
    "types": ("type", "name", "training_tumors", "from_statistics", "test_sensitivity"),
    "gene_sets": ("gene_set", "collection", "n_genes"),
}


def describe_reference(
    engine: Engine,
    *,
    what: What = "overview",
    query: str | None = None,
    offset: int = 0,
    detail: Detail = "concise",
) -> Reference:
    """List what there is, a page at a time.

    Parameters
    ----------
    query
        Words that must all occur in a row; for gene sets also the symbol of a member.
    offset
        Row to begin with.

    Raises
    ------
    SpecformerError
        Nothing fits the query; the text names close ones.
    """
    rows = _ROWS[what](engine)
    if query and query.strip():
        rows = _search(engine, rows, query.strip(), what)
    page = rows[offset : offset + PAGE[detail]]
    end = offset + len(page)
    if detail == "concise" and what in _CONCISE_KEYS:
        page = [{key: row[key] for key in _CONCISE_KEYS[what] if key in row} for row in page]
    return Reference(
        what=what,
        total=len(rows),
        rows=page,
        next_cursor=str(end) if end < len(rows) else None,
        next=_next(what),
        provenance=provenance(engine),
    )


def cohort_rows(engine: Engine) -> list[Row]:
    """One row for each cohort of real profiles, the largest first."""
    index = engine.loaded().index
    real = [row for row in index.cohort_rows() if row.id in index.cohorts]
    rows = sorted(real, key=lambda row: (-row.n_patients, row.id))
    return [
        {
            "cohort": row.id,
            "name": row.name,
            "n_patients": row.n_patients,
            "n_profiles": row.n_profiles,
            "n_sources": row.n_sources,
            "study": row.study,
            "tissue": row.tissue,
            "sample_type": row.sample_type,
            "subtypes": list(row.subtypes)[:SUBTYPES_SHOWN],
        }
        for row in rows
    ]


def _overview(engine: Engine) -> list[Row]:
    loaded = engine.loaded()
    release, info = loaded.embedder.release, loaded.index.info
    simulated = release.heads.simulated
    collections = Counter(loaded.gene_sets.collections)
    return [
        {
            "about": "release",
            "id": release.id,
            "genes": loaded.embedder.genes,
            "dimensions": loaded.embedder.dimensions,
            "cancer_types": len(release.heads.types),
            "types_taught_by_published_statistics": simulated,
        },
        {"about": "index", "version": info.version, "created": info.created, **info.counts},
        {"about": "pathway collections", **collections},
        {"about": "test results", **_test_results(release.path)},
    ]


def _test_results(folder: Path) -> Row:
    """The headline numbers of the evaluation that lies beside the release."""
    evaluation = _evaluation(folder)
    part = evaluation.get("classification", {})
    methods = part.get("methods", {})
    shipped = next((methods[name] for name in methods if "shipped" in name), None)
    if shipped is None:
        return {"state": "this release was not evaluated"}
    told = {name: shipped[name] for name in ("accuracy", "balanced accuracy") if name in shipped}
    shown = {
        name: f"{value['value']:.3f} ({value['low']:.3f}-{value['high']:.3f})"
        for name, value in told.items()
    }
    return {"unseen_tumors": part.get("profiles"), "unseen_patients": part.get("patients"), **shown}


def _types(engine: Engine) -> list[Row]:
    release = engine.loaded().embedder.release
    tumors = release.manifest["training"].get("tumors", {})
    recall = _recall(release.path)
    return [
        {
            "type": name,
            "name": study_name(name),
            "training_tumors": tumors.get(name, 0),
            "from_statistics": name in release.heads.simulated,
            **(
                {"test_sensitivity": recall[name][0], "test_tumors": recall[name][1]}
                if name in recall
                else {}
            ),
        }
        for name in release.heads.types
    ]


def _recall(folder: Path) -> dict[str, tuple[float, int]]:
    """Type → share of its test tumours that were called it, and how many there were."""
    part = _evaluation(folder).get("classification", {})
    confusion = part.get("confusion", {})
    counts: list[list[int]] = next((confusion[name] for name in confusion if "shipped" in name), [])
    rows = zip(part.get("types", []), counts, strict=False)
    return {
        name: (round(row[i] / sum(row), 3), sum(row))
        for i, (name, row) in enumerate(rows)
        if sum(row)
    }


def _collections(engine: Engine) -> list[Row]:
    gene_sets = engine.loaded().gene_sets
    sizes = gene_sets.sizes
    rows = []
    for name, n in sorted(Counter(gene_sets.collections).items()):
        of = [int(sizes[i]) for i, c in enumerate(gene_sets.collections) if c == name]
        rows.append(
            {
                "collection": name,
                "gene_sets": n,
                "smallest": min(of),
                "largest": max(of),
                "resource": f"specformer://pathways/{name}",
            }
        )
    return rows


def _gene_sets(engine: Engine) -> list[Row]:
    from specformer_encoder.genes import vocabulary

    sets, symbols = engine.loaded().gene_sets, vocabulary().symbols
    return [
        {
            "gene_set": name,
            "collection": sets.collections[i],
            "n_genes": int(sets.sizes[i]),
            "url": sets.urls[i],
            "genes": [
                symbols[g] for g in sets.genes[sets.offsets[i] : sets.offsets[i] + GENES_SHOWN]
            ],
        }
        for i, name in enumerate(sets.names)
    ]


def _search(engine: Engine, rows: list[Row], query: str, what: What) -> list[Row]:
    words = query.lower().split()
    # Nothing of a row but what identifies it: a search for "lung" must not find a URL.
    texts = [" ".join(str(v) for k, v in row.items() if k not in {"url", "genes"}) for row in rows]
    found = [
        row for row, text in zip(rows, texts, strict=True) if all(w in text.lower() for w in words)
    ]
    if what == "gene_sets":
        found += [row for row in _with_gene(engine, rows, query) if row not in found]
    if found:
        return found
    names = [str(value) for row in rows for value in list(row.values())[:2]]
    close = close_matches(query, names)
    meant = f" Close to it: {', '.join(close)}." if close else ""
    raise SpecformerError(
        f"Nothing among {len(rows)} {what} fits {query[:60]!r}.{meant}",
        "Search for one of these or a part of it, or leave query out to list all.",
    )


def _with_gene(engine: Engine, rows: list[Row], symbol: str) -> list[Row]:
    from specformer_encoder.genes import vocabulary

    symbols = vocabulary().symbols
    if symbol.upper() not in symbols:
        return []
    sets, gene = engine.loaded().gene_sets, symbols.index(symbol.upper())
    having = [
        i for i in range(len(sets)) if gene in sets.genes[sets.offsets[i] : sets.offsets[i + 1]]
    ]
    return [rows[i] for i in having]


def _next(what: What) -> str:
    return {
        "overview": "describe_reference(what='cohorts', query=…), or embed_sample",
        "cohorts": "pass a cohort id as against= of pathway_scores, a study as a filter",
        "types": "predict_cancer_type names one of these",
        "collections": "describe_reference(what='gene_sets', query=…)",
        "gene_sets": "pathway_scores(collection=…) says which stand out in a sample",
    }[what]


@lru_cache(maxsize=4)
def _evaluation(folder: Path) -> dict[str, Any]:
    file = folder / "evaluation.json"
    if not file.is_file():
        return {}
    data = json.loads(file.read_text(encoding="utf-8"))
    return data if isinstance(data, dict) else {}


_ROWS = {
    "overview": _overview,
    "cohorts": cohort_rows,
    "types": _types,
    "collections": _collections,
    "gene_sets": _gene_sets,
}
