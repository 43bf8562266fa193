"""Many HTTP clients at once: throughput, latencies, errors, memory and CPU over minutes.

Run with ``python benchmarks/load.py --workers 2 --minutes 10``. The server is a real one that this
starts on a free port. Each client does what an agent does, over and over: it embeds a profile that
nobody has sent before (inline values of a whole genome, about 400 kB of JSON), then asks
nearest_cohorts, predict_cancer_type and pathway_scores about the handle. Without ``--pause`` a
client asks again as soon as it is answered, so the latencies are those of a server that is always
full. Clients and server share the machine, so the clients' CPU time counts against it.

Memory is the proportional set size (Linux), so pages that processes share count once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from specformer_encoder.genes import vocabulary
from specformer_encoder.profiles import load_profiles

ROOT = Path(__file__).resolve().parents[1]
FILES = ("luad_tumor.tsv.gz", "luad_normal.tsv.gz", "coadread_tumors.csv.gz")
PROTOCOL = "2025-11-25"
HEADERS = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": PROTOCOL,
}
QUESTIONS = ("nearest_cohorts", "predict_cancer_type", "pathway_scores")
SAMPLE_EVERY_S = 5.0
TICK = os.sysconf("SC_CLK_TCK")
READY_S = 300
"""On a busy machine the start takes long."""
MARK = 123456.789


@dataclass
class Seen:
    """What the clients saw."""

    began: float = field(default_factory=time.perf_counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)


def bodies(number: int) -> list[tuple[bytes, bytes]]:
    """JSON of inline profiles, cut where one gene's value goes: another value, another content."""
    profiles = [row for name in FILES for row in load_profiles(ROOT / "examples" / name).values]
    draw = random.Random(0)  # noqa: S311 - noise, no secret
    made = []
    for i in range(number):
        row = profiles[i % len(profiles)]
        noisy = {
            gene: float(value) * draw.lognormvariate(0, 0.3)
            for gene, value in zip(vocabulary().ensembl_ids, row, strict=True)
            if value == value
        }
        # Somewhat less than a million in all, whatever the one gene is given.
        share = 980_000 / sum(noisy.values())
        values = {gene: round(share * value, 3) for gene, value in noisy.items()}
        values[max(values, key=lambda gene: values[gene])] = MARK
        before, after = json.dumps(values, separators=(",", ":")).split(str(MARK))
        made.append((before.encode(), after.encode()))
    return made


class Client:
    """One MCP client: JSON-RPC over one HTTP connection."""

    def __init__(self, url: str, seen: Seen, number: int) -> None:
        self._url = url
        self._seen = seen
        # An address of its own, as real clients have: the server limits the rate of each.
        own = httpx.AsyncHTTPTransport(
            local_address=f"127.0.{1 + number // 250}.{1 + number % 250}"
        )
        self._http = httpx.AsyncClient(headers=HEADERS, timeout=60, transport=own)

    async def open(self) -> None:
        """Shake hands; a server with sessions gives one."""
        params = {
            "protocolVersion": PROTOCOL,
            "capabilities": {},
            "clientInfo": {"name": "load", "version": "0"},
        }
        body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        answer = await self._http.post(self._url, json=body)
        answer.raise_for_status()
        if session := answer.headers.get("mcp-session-id"):
            self._http.headers["mcp-session-id"] = session
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await self._http.post(self._url, json=note)

    async def call(self, tool: str, arguments: bytes) -> dict[str, Any] | None:
        """Call a tool and note how long it took; None and a note on an error."""
        body = (
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%s","arguments":%s}}'
            % (tool.encode(), arguments)
        )
        began = time.perf_counter()
        try:
            answer = await self._http.post(self._url, content=body)
        except httpx.HTTPError as error:
            self._seen.errors[f"{tool}: {type(error).__name__}"] += 1
            return None
        took = time.perf_counter() - began
        if answer.status_code != 200:
            self._seen.errors[f"{tool}: HTTP {answer.status_code} {answer.text[:80]}"] += 1
            return None
        text = answer.text
        if not text.startswith("{"):  # an event stream: the last event is the answer
            text = [line[6:] for line in text.splitlines() if line.startswith("data: {")][-1]
        told = json.loads(text)
        result: dict[str, Any] = told.get("result", {})
        if "error" in told or result.get("isError"):
            why = told.get("error") or result["content"][0]["text"]
            self._seen.errors[f"{tool}: {str(why)[:120]}"] += 1
            return None
        self._seen.seconds[tool].append(took)
        content: dict[str, Any] = result["structuredContent"]
        return content

    async def work(self, made: list[tuple[bytes, bytes]], until: float, pause_s: float) -> None:
        """Embed and ask until the time is over."""
        draw = random.Random(id(self))  # noqa: S311
        # With pauses, they do not all begin in the same moment.
        await asyncio.sleep(pause_s * draw.uniform(0, 1 + len(QUESTIONS)))
        while time.perf_counter() < until:
            before, after = draw.choice(made)
            value = f"{draw.uniform(1000, 9000):.9f}".encode()
            arguments = b'{"values":%s%s%s,"unit":"tpm"}' % (before, value, after)
            embedded = await self.call("embed_sample", arguments)
            await asyncio.sleep(pause_s * draw.uniform(0.5, 1.5))
            if embedded is None:
                continue
            handle = json.dumps({"sample": embedded["samples"][0]["sample"]}).encode()
            for tool in QUESTIONS:
                if time.perf_counter() > until:
                    break
                await self.call(tool, handle)
                await asyncio.sleep(pause_s * draw.uniform(0.5, 1.5))
        await self._http.aclose()


def descendants(pid: int) -> list[int]:
    """A process and all below it (Linux)."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += descendants(int(child))
    return found


def memory_mb(pid: int) -> float:
    """Proportional set size; 0 for a process that has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    line = next((line for line in rollup.splitlines() if line.startswith("Pss:")), "Pss: 0")
    return int(line.split()[1]) / 1024


def cpu_s(pid: int) -> float:
    """CPU seconds so far, user and system."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


async def watch(pid: int, memory: list[tuple[float, dict[int, float]]]) -> None:
    """Note the memory of every process now and then."""
    began = time.perf_counter()
    while True:
        memory.append((time.perf_counter() - began, {p: memory_mb(p) for p in descendants(pid)}))
        await asyncio.sleep(SAMPLE_EVERY_S)


def start_server(options: argparse.Namespace, data: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server on a free port, its sample store in `data`; return it and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "specformer_mcp", "serve", "--transport", "http"]
    command += ["--port", str(port), *options.server]
    command += ["--workers", str(options.workers)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "SPECFORMER_STORE": data}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    base = f"http://127.0.0.1:{port}"
    return process, base


def wait_until_ready(process: subprocess.Popen[bytes], base: str) -> None:
    """Wait until the server says that it is ready."""
    began = time.perf_counter()
    while True:
        assert process.poll() is None, "the server ended"
        assert time.perf_counter() - began < READY_S, "the server is not ready"
        try:
            if httpx.get(f"{base}/ready", timeout=5).status_code == 200:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    print(f"ready after {time.perf_counter() - began:.1f} s")


async def load(base: str, pid: int, options: argparse.Namespace) -> None:
    """Run the clients and print what was seen."""
    made = bodies(12)
    size = sum(len(a) + len(b) for a, b in made) / len(made)
    print(
        f"{options.clients} clients, {options.minutes:g} min, inline profiles of {size:.0f} bytes"
    )
    seen, memory = Seen(), []
    clients = [Client(f"{base}/mcp", seen, n) for n in range(options.clients)]
    await asyncio.gather(*(client.open() for client in clients))
    cpu = {p: cpu_s(p) for p in descendants(pid)}
    own = time.process_time()
    seen.began = time.perf_counter()
    watching = asyncio.create_task(watch(pid, memory))
    until = seen.began + 60 * options.minutes
    await asyncio.gather(*(client.work(made, until, options.pause) for client in clients))
    took = time.perf_counter() - seen.began
    watching.cancel()
    report(seen, took)
    report_processes(memory, {p: cpu_s(p) - cpu.get(p, 0.0) for p in descendants(pid)}, took)
    print(f"clients: {(time.process_time() - own) / took:.2f} cores")


def report(seen: Seen, took: float) -> None:
    """Print latencies and throughput."""
    print(f"{'':<22}{'calls':>8}{'per s':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    every = [s for seconds in seen.seconds.values() for s in seconds]
    for tool, seconds in [*sorted(seen.seconds.items()), ("all", every)]:
        cut = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else seconds * 99
        row = [1000 * s for s in (statistics.median(seconds), cut[94], cut[98], max(seconds))]
        print(f"{tool:<22}{len(seconds):>8}{len(seconds) / took:>8.1f}", end="")
        print("".join(f"{value:>9.0f}" for value in row))
    new = len(seen.seconds["embed_sample"]) / took
    print(f"new profiles per second: {new:.1f}; errors: {sum(seen.errors.values())}")
    for what, number in seen.errors.most_common(8):
        print(f"  {number} × {what}")


def report_processes(
    memory: list[tuple[float, dict[int, float]]], cpu: dict[int, float], took: float
) -> None:
    """Print memory of the first, a middle and the last moment, and its trend, by process."""
    print(f"{'process':<10}{'MB first':>10}{'middle':>9}{'last':>9}{'MB/min':>9}{'cores':>8}")
    # The first fifth fills caches.
    late = [entry for entry in memory if entry[0] >= memory[-1][0] / 5]
    for pid, used in cpu.items():
        row = [entry[1].get(pid, 0.0) for entry in (memory[0], late[len(late) // 2], memory[-1])]
        trend = slope([(at / 60, mb.get(pid, 0.0)) for at, mb in late])
        print(f"{pid:<10}{row[0]:>10.0f}{row[1]:>9.0f}{row[2]:>9.0f}", end="")
        print(f"{trend:>9.1f}{used / took:>8.2f}")
    trend = slope([(at / 60, sum(mb.values())) for at, mb in late])
    print(f"{'all':<10}{sum(memory[0][1].values()):>10.0f}{'':>9}", end="")
    print(f"{sum(memory[-1][1].values()):>9.0f}{trend:>9.1f}{sum(cpu.values()) / took:>8.2f}")


def slope(points: list[tuple[float, float]]) -> float:
    """Slope of the least-squares line; 0 of a single point."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def main() -> None:
    """Start the server, load it, end it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="1 = one process for all")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--pause", type=float, default=0.0, help="mean seconds between calls")
    parser.add_argument("server", nargs="*", help="further options of `specformer serve`, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        process, base = start_server(options, data)
        try:
            wait_until_ready(process, base)
            asyncio.run(load(base, process.pid, options))
        finally:
            began = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
            print(f"ended in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
