"""`specformer data download`: public data sets into a folder.

stdout carries the result alone, one tab-separated line a file; progress and remarks go to stderr.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from specformer_encoder.errors import DownloadError

if TYPE_CHECKING:
    from specformer_encoder.download.data_sets import Planned
    from specformer_mcp.progress import ProgressLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from specformer_encoder.download.catalogue import DATA_SETS

    parser.add_argument(
        "names", nargs="+", choices=sorted(DATA_SETS), metavar="NAME",
        help=f"data set: {', '.join(sorted(DATA_SETS))}",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR",
        help="where to put the files; data sets in one folder share the files they have in common",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run", action="store_true", help="list files and sizes, fetch nothing"
    )
    parser.add_argument(
        "--mirror", metavar="URL", help="fetch URL/host/path in place of https://host/path"
    )
    parser.add_argument(
        "--verify", action="store_true",
        help="hash the files that are there and fetch again what has changed",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Fetch what is missing, or list it."""
    from specformer_mcp.progress import ProgressLine

    progress = ProgressLine()
    try:
        return _list(args, progress) if args.dry_run else _download(args, progress)
    except KeyboardInterrupt:
        progress.note("interrupted; the same command goes on from here")
        raise
    finally:
        progress.close()


def _download(args: argparse.Namespace, progress: ProgressLine) -> int:
    from specformer_encoder.download.catalogue import files_of
    from specformer_encoder.download.data_sets import check_space, download, plan

    planned = plan(
        files_of(args.names), args.out, mirror=args.mirror, verify=args.verify, progress=progress
    )
    check_space(planned, args.out)
    failed = False
    for one in planned:
        try:
            record = download(one, args.out, policy=None, progress=progress)
        except DownloadError as error:
            # One file that is gone is no reason to leave out the others.
            progress.note(f"specformer data: {error}")
            failed = True
            continue
        progress.close()
        state = "fetched" if one.record is None else "verified" if args.verify else "there"
        print(f"{args.out / record.name}\t{record.bytes}\t{record.sha256}\t{state}", flush=True)
    return 1 if failed else 0


def _list(args: argparse.Namespace, progress: ProgressLine) -> int:
    from specformer_encoder.download.catalogue import files_of
    from specformer_encoder.download.data_sets import plan
    from specformer_encoder.download.web import Policy, shown
    from specformer_mcp.progress import megabytes

    files = files_of(args.names)
    try:
        planned = plan(
            files,
            args.out,
            mirror=args.mirror,
            verify=args.verify,
            policy=Policy(attempts=2),
            progress=progress,
        )
    except DownloadError as error:
        progress.note(f"specformer data: {error} The sizes below are those once published.")
        planned = plan(files, args.out, mirror=args.mirror, ask=False, progress=progress)
    for one in planned:
        if one.problem is not None:
            progress.note(f"specformer data: {one.problem}")
        size = "unknown" if one.size is None else megabytes(one.size)
        print(
            f"{one.file.name}\t{size if one.size_is_exact or one.size is None else f'about {size}'}"
            f"\t{_state(one)}\t{shown(one.url)}"
        )
    unknown = sum(one.size is None for one in planned)
    print(
        f"total\t{megabytes(sum(one.size or 0 for one in planned))}"
        f"\t{megabytes(sum(one.missing for one in planned))} to fetch"
        + (f"\t{unknown} of unknown size not counted" if unknown else "")
    )
    return 1 if any(one.problem for one in planned) else 0


def _state(one: Planned) -> str:
    if one.record is not None:
        return "there"
    if one.problem is not None:
        return "refused by the server"
    return f"{one.there / one.size:.0%} there" if one.there and one.size else "to fetch"
