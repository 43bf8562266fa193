"""`specformer doctor`: what is wrong with this installation, and how to mend it.

Takes the options of `specformer serve`, and looks at what the server would run with. The exit code
is 1 when something is wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from specformer_encoder.errors import SpecformerError
from specformer_mcp.commands import serve

if TYPE_CHECKING:
    from specformer_mcp.settings import Settings

_MARKS = {"ok": "✓", "warning": "!", "problem": "✗"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--no-start", action="store_true", help="do not start the server to see it answer"
    )
    serve.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Look at everything, print what was found and return the exit code."""
    from specformer_mcp.doctor import Finding, examine
    from specformer_mcp.http.from_settings import http_options
    from specformer_mcp.settings import Settings

    findings = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not args.json:
            print(f"{_MARKS[finding.state]} {finding.check:<10} {finding.said}", flush=True)
            if finding.remedy:
                print(f"  {'':<10} → {finding.remedy}", flush=True)

    try:
        settings = serve.load_settings(args)
        http_options(settings)
        tell(Finding("settings", "ok", _origin(settings)))
    except SpecformerError as error:
        tell(Finding("settings", "problem", error.problem, error.remedy))
        settings = Settings.load({}, {})  # the rest is looked at with the defaults
    leave_out = frozenset({"start"} if args.no_start else ())
    for finding in examine(settings, leave_out=leave_out):
        tell(finding)
    sound = all(finding.state != "problem" for finding in findings)
    if args.json:
        rows = [dataclasses.asdict(finding) for finding in findings]
        print(json.dumps({"sound": sound, "findings": rows}))
    else:
        print("All is well." if sound else "Something is wrong: see the lines marked ✗.")
    return 0 if sound else 1


def _origin(settings: Settings) -> str:
    sources = {settings.source_of(name) for name in type(settings).model_fields} - {"default"}
    return f"from {', '.join(sorted(sources))}" if sources else "the defaults"
