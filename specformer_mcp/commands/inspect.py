"""`specformer inspect`: how a file is read, without asking the model anything."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

from specformer_encoder.errors import SpecformerError
from specformer_encoder.sources import locate
from specformer_mcp.analysis import unit_of
from specformer_mcp.progress import ProgressLine

if TYPE_CHECKING:
    from specformer_encoder.profiles import ProfileSet

_SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="expression file or folder, or gdc:<uuid>"
    )
    parser.add_argument("--unit", help="unit of the values, if the detection is wrong")
    parser.add_argument("--json", action="store_true", help="one JSON object a line and file")


def run(args: argparse.Namespace) -> int:
    """Print format, samples, unit and genes of every file; a bad one does not stop the others."""
    failed = False
    for name in args.files:
        try:
            found = _inspect(name, args.unit)
        except SpecformerError as error:
            print(f"specformer inspect: {name}: {error}", file=sys.stderr)
            failed = True
            continue
        print(json.dumps(found) if args.json else _text(found), flush=True)
    return 1 if failed else 0


def _inspect(name: str, unit: str | None) -> dict[str, Any]:
    """Resolve a file by blocks, so that every sample is looked at and few are in memory."""
    from specformer_encoder.profiles import iter_profiles
    from specformer_encoder.readers import OWN_FILES

    located = locate(name, progress=ProgressLine())
    samples: list[str] = []
    left_out: dict[str, str] = {}
    notes: dict[str, None] = dict.fromkeys(located.notes)
    last: ProfileSet | None = None
    blocks = iter_profiles(located.path, unit=unit, limits=OWN_FILES)
    for profiles in map(located.label, blocks):
        samples += profiles.samples
        left_out |= profiles.left_out
        notes |= dict.fromkeys(profiles.notes)
        last = profiles
    assert last is not None  # noqa: S101 - a file without samples is refused when it is read
    genes = last.genes
    return {
        "file": name,
        "format": last.format,
        "samples": samples,
        "left_out": left_out,
        "unit": unit_of(last.unit).model_dump(),
        "genes": dataclasses.asdict(genes)
        | {"missing": genes.missing, "account": genes.sentences()},
        "notes": list(notes),
    }


def _text(found: dict[str, Any]) -> str:
    unit, samples = found["unit"], found["samples"]
    shown = ", ".join(samples[:_SHOWN]) + (", …" if len(samples) > _SHOWN else "")
    how = "stated" if unit["overridden"] else f"confidence {unit['confidence']:.2f}"
    lines = [
        f"{found['file']}",
        f"  format   {found['format']}",
        f"  samples  {len(samples)}: {shown}",
        *(f"  left out {name}: {why}" for name, why in found["left_out"].items()),
        f"  unit     {unit['name']}, {unit['scale']} ({how})",
        *(f"           {sentence}" for sentence in unit["evidence"]),
        *(f"  warning  {sentence}" for sentence in unit["warnings"]),
    ]
    lines += [f"  {'' if i else 'genes':8} {s}" for i, s in enumerate(found["genes"]["account"])]
    lines += [f"  note     {sentence}" for sentence in found["notes"]]
    return "\n".join(lines)
