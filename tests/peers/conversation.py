"""One conversation with the server, held by each peer in its own words, and what must come of it.

A request is a JSON file: `stdio` (command, args, env, cwd) or `url`; `embed` and `bad`, the
arguments of two calls of embed_sample, of which the second must fail; `client` and `mode` where a
peer has several. A peer lists the tools, makes both calls and asks for the nearest cohorts of the
handle that came; it reads the first resource and gets the first prompt, where there are any; then
it prints one line of JSON: `tools`, `embedded`, `handle`, `cohorts`, `bad`, `bad_is_error`, and
where the peer has the notions `version`, `resources`, `read`, `prompts`, `messages`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from server_support import NORMAL, ROOT, TUMOR, environment, example_rows

LIMIT_S = 300
GENES = 3000
TOOLS = {"embed_sample", "nearest_cohorts", "predict_cancer_type", "pathway_scores"}
HANDLE = re.compile(r"smp_[0-9a-f]{16}")


def stdio() -> dict[str, Any]:
    """How a client starts the server: as this interpreter would."""
    args = ["-m", "specformer_mcp", "serve", "--allow-dir", str(ROOT / "examples")]
    return {
        "command": sys.executable,
        "args": args,
        "env": environment(),
        "cwd": tempfile.gettempdir(),
    }


def passed_on() -> list[str]:
    """What clients that clear the environment must be told to hand to the server."""
    names = ("OMP_NUM_THREADS", "PYTHONPATH", "SPECFORMER_STORE")
    return [f"{name}={value}" for name, value in environment().items() if name in names]


def over_stdio(**more: Any) -> dict[str, Any]:
    """A conversation about a file."""
    bad = {"path": str(NORMAL.with_name("missing.tsv.gz"))}
    return {"stdio": stdio(), "embed": {"path": str(TUMOR)}, "bad": bad, **more}


def values() -> dict[str, float]:
    """The genes of the example tumour with the highest values, as inline values."""
    header, *rows = example_rows()
    pairs = sorted(((float(row[-1]), row[0]) for row in rows), reverse=True)
    assert len(header) == len(rows[0])
    return {gene: value for value, gene in pairs[:GENES]}


def over_http(base: str, **more: Any) -> dict[str, Any]:
    """A conversation about inline values, which needs no path on the server."""
    bad = {"values": {"not a gene": 1.0, "nor this": 2.0}}
    return {"url": f"{base}/mcp", "embed": {"values": values()}, "bad": bad, **more}


def hold(command: list[str], request: dict[str, Any], folder: Path, **run: Any) -> dict[str, Any]:
    """Let a peer hold the conversation and return what it says of it."""
    path = folder / "request.json"
    path.write_text(json.dumps(request))
    done = subprocess.run(
        [*command, str(path)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        stdin=subprocess.DEVNULL,
        **run,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def check(answers: dict[str, Any], request: dict[str, Any]) -> None:
    """Check what every peer must have seen."""
    assert set(answers["tools"]) >= TOOLS
    assert HANDLE.fullmatch(answers["handle"])
    assert answers["handle"] in answers["embedded"]
    assert "TCGA-" in answers["cohorts"]
    assert answers["bad_is_error"]
    if "stdio" in request:
        assert "TCGA-LUAD" in answers["cohorts"]  # the whole profile, of a lung adenocarcinoma
        assert "missing.tsv.gz" in answers["bad"]
    assert "Traceback" not in answers["bad"]
    if answers.get("resources"):
        assert answers["read"] > 0
    if answers.get("prompts"):
        assert answers["messages"] > 0
