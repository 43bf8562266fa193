"""`specformer index`: build a reference index, add one's own cohorts, keep it sound."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

SHOWN = 10
"""Names that a list of samples shows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build an index from a release and a corpus")
    build.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="built corpus")
    build.add_argument("--out", type=Path, required=True, metavar="DIR")
    build.add_argument("--release", type=Path, metavar="DIR", help="model release")
    build.add_argument(
        "--medians", type=Path, metavar="FILE", help="Parquet file of published cohort medians"
    )
    build.add_argument("--replace", action="store_true", help="replace an existing index")
    _add_arguments_of_add(actions.add_parser("add", help="add your own labelled cohorts"))
    remove = actions.add_parser("remove", help="remove a cohort")
    remove.add_argument("--cohort", required=True, metavar="NAME")
    remove.add_argument("--index", type=Path, required=True, metavar="DIR")
    info = actions.add_parser("info", help="show what an index holds, and its versions")
    info.add_argument(
        "--values", metavar="FIELD", help="list the values of a filter, such as study or cohort"
    )
    _add_index(info)
    optimize = actions.add_parser("optimize", help="merge small files, remove what is not needed")
    optimize.add_argument("--index", type=Path, required=True, metavar="DIR")
    optimize.add_argument(
        "--keep", type=int, metavar="N", help="keep only the newest N versions (default: all)"
    )
    _add_index(actions.add_parser("verify", help="examine files, rows, vectors and tables"))
    export = actions.add_parser("export", help="write all rows and vectors as one Parquet file")
    export.add_argument("--out", type=Path, required=True, metavar="FILE")
    _add_index(export)


def _add_index(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--index", type=Path, metavar="DIR", help="default: the bundled index")
    parser.add_argument("--version", metavar="NAME", help="default: the current version")


def _add_arguments_of_add(add: argparse.ArgumentParser) -> None:
    add.add_argument("files", nargs="+", type=Path, metavar="FILE", help="expression file")
    add.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="FILE",
        help="table: sample, cohort; patient, tissue, sample_type, subtype if known",
    )
    add.add_argument(
        "--cohort-column", default="cohort", metavar="NAME", help="column that holds the cohort"
    )
    add.add_argument("--index", type=Path, metavar="DIR", help="index to change or to copy")
    add.add_argument("--out", type=Path, metavar="DIR", help="change a copy, made here")
    add.add_argument("--name", metavar="NAME", help="of your data (default: the file's name)")
    add.add_argument("--unit", help="unit of the values, if the detection is wrong")
    add.add_argument("--release", type=Path, metavar="DIR", help="model release")
    add.add_argument("--replace", action="store_true", help="replace cohorts added before")


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "build": _build,
        "add": _add,
        "remove": _remove,
        "info": _info,
        "optimize": _optimize,
        "verify": _verify,
        "export": _export,
    }
    return actions[args.action](args)


def _build(args: argparse.Namespace) -> int:
    from specformer_encoder.corpus import Corpus
    from specformer_encoder.embedder import Embedder
    from specformer_encoder.gene_sets import GeneSets
    from specformer_index.build import build_index
    from specformer_mcp.engine import from_environment

    info = build_index(
        embedder=Embedder.load(args.release or from_environment("SPECFORMER_RELEASE")),
        corpus=Corpus.open(args.corpus),
        out=args.out,
        medians=args.medians,
        gene_sets=GeneSets.load(),
        replace=args.replace,
        progress=_tell,
    )
    print(f"{args.out}: {_counts(info.counts)}")
    return 0


def _add(args: argparse.Namespace) -> int:
    from specformer_encoder.embedder import Embedder
    from specformer_encoder.gene_sets import GeneSets
    from specformer_index.user_cohorts import add_files, read_user_labels
    from specformer_mcp.engine import from_environment

    added = add_files(
        args.files,
        read_user_labels(args.labels, cohort_column=args.cohort_column),
        name=args.name or args.files[0].name.split(".")[0],
        embedder=Embedder.load(args.release or from_environment("SPECFORMER_RELEASE")),
        gene_sets=GeneSets.load(),
        index=args.index or from_environment("SPECFORMER_INDEX"),
        out=args.out,
        unit=args.unit,
        replace=args.replace,
        progress=_tell,
    )
    for note in added.notes:
        _tell(note)
    for sample, why in added.left_out.items():
        _tell(f"sample {sample!r} is left out. {why}")
    _tell_names("samples without a label, not added", added.unlabelled)
    _tell_names("labelled samples that no file holds", added.missing)
    same = [f"{new} = {there}" for new, there in added.twins.items()]
    _tell_names("samples that the index holds already, now twice", same)
    for cohort, profiles in added.cohorts.items():
        print(f"{cohort}: {profiles} profiles")
    print(f"{added.info.path}: version {added.info.version}, {_counts(added.info.counts)}")
    return 0


def _remove(args: argparse.Namespace) -> int:
    from specformer_index.changes import remove_cohort

    info = remove_cohort(args.index, args.cohort)
    print(f"{info.change}\n{info.path}: version {info.version}, {_counts(info.counts)}")
    return 0


def _info(args: argparse.Namespace) -> int:
    from specformer_index.opening import list_versions, read_info, verify
    from specformer_index.search import ReferenceIndex
    from specformer_mcp.engine import from_environment

    info = read_info(args.index or from_environment("SPECFORMER_INDEX"), version=args.version)
    if args.values is not None:
        index = ReferenceIndex.open(
            info.path, release_sha256=info.release_sha256, version=info.version
        )
        print("\n".join(index.values_of(args.values)))
        return 0
    print(f"index     {info.version}, built {info.created}")
    print(f"release   {info.release_id}, sha256 {info.release_sha256}")
    print(f"vectors   {info.dimensions} dimensions")
    print(f"holds     {_counts(info.counts)}")
    changed = verify(info)
    print(f"files     {len(info.files)}, {f'CHANGED: {changed}' if changed else 'all unchanged'}")
    for kept in list_versions(info.path):
        print(f"version   {kept.version}, {kept.created}: {kept.change}")
    return 1 if changed else 0


def _optimize(args: argparse.Namespace) -> int:
    from specformer_index.maintenance import optimize

    done = optimize(args.index, keep=args.keep)
    print(f"{args.index}: version {done.info.version}")
    print(f"removed   {done.files} files, {done.bytes:,} bytes")
    for version in done.dropped:
        print(f"dropped   {version}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from specformer_index.maintenance import check
    from specformer_index.opening import read_info
    from specformer_mcp.engine import from_environment

    info = read_info(args.index or from_environment("SPECFORMER_INDEX"), version=args.version)
    problems = check(info)
    for problem in problems:
        _tell(problem)
    print(f"{info.version}: {f'{len(problems)} problems' if problems else 'sound'}")
    return 1 if problems else 0


def _export(args: argparse.Namespace) -> int:
    from specformer_index.maintenance import export
    from specformer_index.opening import read_info
    from specformer_mcp.engine import from_environment

    info = read_info(args.index or from_environment("SPECFORMER_INDEX"), version=args.version)
    print(f"{args.out}: {export(info, args.out)} rows of {info.version}")
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tell_names(what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        _tell(f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}")


def _counts(counts: dict[str, int]) -> str:
    return (
        f"{counts['profiles']} profiles of {counts['patients']} patients in "
        f"{counts['cohorts']} cohorts, {counts['medians']} published medians"
    )
