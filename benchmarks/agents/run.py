"""Ask a model the questions, and print what it got right and what that took.

Run from the repository root, with the `dev` extra installed:

    python -m benchmarks.agents.run --corpus CORPUS [--sets 5] [--page docs/agents.md]
    python -m benchmarks.agents.run --corpus CORPUS --model NAME --api openai --base URL

Without --model, the scripted agent answers. The server is a process of its own, spoken to over
stdio; its reference is the bundled index without the test patients, its sample store a new one.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from mcp import Client
from mcp.client.stdio import StdioServerParameters

from benchmarks.agents.agent import ScriptedAgent
from benchmarks.agents.harness import Model, Outcome, ask
from benchmarks.agents.models import AnthropicMessages, ChatCompletions
from benchmarks.agents.page import page
from benchmarks.agents.questions import Question, make_questions
from benchmarks.agents.reference import without_test_patients
from specformer_encoder.corpus import Corpus

CALL_S = 120.0


@asynccontextmanager
async def server(folder: Path, *, index: Path) -> AsyncIterator[Client]:
    """Start a server that may read `folder`, and connect to it over stdio.

    Parameters
    ----------
    folder
        Where the files of the questions lie; the server's sample store goes there, too.
    index
        The server's reference.
    """
    store = folder / "store"
    store.mkdir(exist_ok=True)
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "specformer_mcp", "serve", "--allow-dir", str(folder), "--index", str(index)],
        env={**os.environ, "XDG_DATA_HOME": str(store)},
        cwd=folder,
    )
    async with Client(parameters, read_timeout_seconds=CALL_S) as client:
        yield client


async def ask_all(
    client: Client, model: Model, questions: Sequence[Question], *, tell: bool = True
) -> list[Outcome]:
    """Put questions to a model, one after the other; print a line of each."""
    outcomes = []
    for question in questions:
        outcome = await ask(client, model, question)
        outcomes.append(outcome)
        if tell:
            verdict = "right" if outcome.right else f"WRONG: {outcome.failure or outcome.answer}"
            print(f"{outcome.question} {outcome.kind}: {verdict}", file=sys.stderr, flush=True)
        await client.call_tool("forget", {"sample": "all"})
    return outcomes


def model_of(args: argparse.Namespace) -> Model:
    """Return the model that the command line names."""
    if args.model is None:
        return ScriptedAgent()
    if args.api == "anthropic":
        return AnthropicMessages(args.model, base=args.base)
    return ChatCompletions(args.model, base=args.base)


async def _run(args: argparse.Namespace, folder: Path) -> tuple[list[list[Outcome]], str]:
    """Ask all sets; return how they went, and the version of the index that answered."""
    corpus = Corpus.open(args.corpus)
    info = without_test_patients(folder / "index", index=args.index)
    sets = []
    async with server(folder, index=folder / "index") as client:
        for seed in range(args.seed, args.seed + args.sets):
            place = folder / f"set{seed}"
            place.mkdir()
            questions = make_questions(corpus, place, seed=seed)
            sets.append(await ask_all(client, model_of(args), questions))
    return sets, info.version


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agents.run", description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="built corpus")
    parser.add_argument("--index", type=Path, help="reference index; default the bundled one")
    parser.add_argument("--seed", type=int, default=0, help="of the first set of questions")
    parser.add_argument("--sets", type=int, default=1, help="sets of 30 questions, a seed each")
    parser.add_argument("--model", help="name of a model; default the scripted agent")
    parser.add_argument("--api", choices=("openai", "anthropic"), default="openai")
    parser.add_argument("--base", default="http://127.0.0.1:8080/v1", help="of the endpoint")
    parser.add_argument("--out", type=Path, help="write every outcome as JSON")
    parser.add_argument("--page", type=Path, help="write the tables into this Markdown file")
    args = parser.parse_args()
    if args.sets < 1:
        parser.error("--sets must be 1 or more")
    with tempfile.TemporaryDirectory(prefix="agents-") as folder:
        sets, version = asyncio.run(_run(args, Path(folder).resolve()))
    if args.out:
        told = [[dataclasses.asdict(outcome) for outcome in outcomes] for outcomes in sets]
        args.out.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    model = model_of(args).name
    command = f"python -m benchmarks.agents.run --corpus CORPUS --sets {args.sets}"
    command += f" --seed {args.seed}" if args.seed else ""
    command += f" --model {model} --api {args.api}" if args.model else ""
    text = page(model, sets, command=command, tools=f"index {version}")
    print(text)
    if args.page:
        args.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
