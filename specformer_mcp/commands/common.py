"""What the commands on expression files share: options, the loop over files, the output.

A bad file among several, or a sample of a file that cannot be ordered, is told on stderr and the
others are still answered; the exit code is then 1. Large files are answered by blocks of samples.
With ``--json`` every sample is one JSON object on one line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from specformer_encoder.errors import SpecformerError
from specformer_encoder.sources import locate
from specformer_mcp import analysis
from specformer_mcp.engine import Engine, samples_of
from specformer_mcp.progress import ProgressLine
from specformer_mcp.samples import Sample

Answer = Callable[[Engine, Sample], tuple[dict[str, Any], str]]
"""Engine and sample → the extra keys of the JSON object, and the text for a person."""


def add_file_arguments(parser: argparse.ArgumentParser, *, json_output: bool = True) -> None:
    """Declare the files and the options that all commands on files have."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="expression file or folder, or gdc:<uuid>"
    )
    if json_output:
        parser.add_argument("--json", action="store_true", help="one JSON object a line and sample")
    add_common_arguments(parser)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the unit, sample, release and index options."""
    parser.add_argument("--unit", help="unit of the values, if the detection is wrong")
    parser.add_argument("--sample", metavar="NAME", help="only the sample (column) of this name")
    parser.add_argument("--release", type=Path, metavar="DIR", help="model release")
    parser.add_argument("--index", type=Path, metavar="DIR", help="reference index")


def answer_files(args: argparse.Namespace, answer: Answer) -> int:
    """Print the answer for every sample of every file and return the exit code."""
    engine = Engine(release=args.release, index=args.index, own_files=True)
    engine.loaded()  # a broken release is an error once, not for every file
    wanted = {"unit": args.unit, "sample": args.sample}
    failed = False
    for name in args.files:
        try:
            located = locate(name, progress=ProgressLine())
            raw = engine.open(located.path)
            told: set[str] = set()
            for profiles in map(located.label, engine.resolve(raw, **wanted)):
                new = {*located.notes, *profiles.notes, *profiles.unit.warnings} - told
                told |= new
                left_out = [f"sample {s!r} is left out. {w}" for s, w in profiles.left_out.items()]
                for sentence in sorted(new) + left_out:
                    print(f"specformer {args.command}: {name}: {sentence}", file=sys.stderr)
                failed = failed or bool(left_out)
                _answer_samples(engine, samples_of(profiles), name, args, answer)
        except SpecformerError as error:
            print(f"specformer {args.command}: {name}: {error}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


def base_fields(engine: Engine, sample: Sample, file: str) -> dict[str, Any]:
    """Return the fields of every JSON object: the sample, its type with its doubt, provenance."""
    prediction = analysis.predict(engine, sample)
    return {
        "sample": sample.name,
        "file": file,
        "top_type": prediction.top_type,
        "probabilities": prediction.probabilities,
        "types_from_statistics": prediction.types_from_statistics,
        "prediction_set": prediction.prediction_set,
        "coverage": prediction.coverage,
        "prediction_sets": prediction.prediction_sets,
        "typicality": prediction.typicality,
        "out_of_distribution": prediction.out_of_distribution,
        "reasons": prediction.reasons,
        "tumor_probability": prediction.tumor_probability,
        "unit": sample.unit.unit,
        "unit_scale": sample.unit.scale,
        "unit_confidence": round(float(sample.unit.confidence), 3),
        "genes_measured": sample.genes_measured,
        "provenance": prediction.provenance.model_dump(),
    }


def _answer_samples(
    engine: Engine, samples: list[Sample], file: str, args: argparse.Namespace, answer: Answer
) -> None:
    engine.embed(samples)
    for sample in samples:
        extra, text = answer(engine, sample)
        if args.json:
            print(json.dumps(base_fields(engine, sample, file) | extra), flush=True)
        else:
            print(text, flush=True)
