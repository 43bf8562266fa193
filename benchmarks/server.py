"""What the server costs: start, load, warm tools, memory; CPU as well as wall time.

Run with ``python benchmarks/server.py``. The server is a real subprocess over stdio; its CPU
seconds (user + system, all threads) and its peak memory come from ``/proc``, so Linux is needed.
Other load on the machine moves the wall times more than the CPU times.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "luad_tumor.tsv.gz"
REPEATS = 20
TARGETS = {
    "start to initialize": "cpu < 1.0 s",
    "predict_cancer_type (warm)": "wall <= 150 ms",
    "embed_sample (one file)": "wall <= 400 ms",
    "peak memory": "<= 1.2 GB",
}


class Server:
    """A server subprocess, spoken to line by line."""

    def __init__(self, folder: Path) -> None:
        self.began = time.perf_counter()
        command = [sys.executable, "-m", "specformer_mcp", "serve"]
        self.process = subprocess.Popen(
            # A store of its own: in the user's, copies of an earlier run would be found embedded.
            [*command, "--allow-dir", str(folder), "--store", str(folder / "store")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._number = 0

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send one request and return its result."""
        self._number += 1
        self.send({"id": self._number, "method": method, "params": params})
        assert self.process.stdout is not None
        answer = json.loads(self.process.stdout.readline())
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        assert not result.get("isError"), result
        return result

    def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its structured content."""
        result = self.request("tools/call", {"name": tool, "arguments": arguments})
        content: dict[str, Any] = result["structuredContent"]
        return content

    def cpu_s(self) -> float:
        """CPU seconds of the server so far, all threads."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        """Peak resident memory so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


def show(name: str, wall_s: float, cpu_s: float) -> None:
    """Print one line of the table."""
    target = TARGETS.get(name, "")
    print(f"{name:<32} wall {1000 * wall_s:8.1f} ms   cpu {1000 * cpu_s:8.1f} ms   {target}")


def warm(server: Server, name: str, work: Callable[[], object]) -> None:
    """Print the median wall time and the mean CPU time of `REPEATS` runs after one unmeasured."""
    work()
    cpu = server.cpu_s()
    walls = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        walls.append(time.perf_counter() - began)
    show(name, statistics.median(walls), (server.cpu_s() - cpu) / REPEATS)


def altered_copies(path: Path, folder: Path) -> list[Path]:
    """Write copies that differ in one value each: a new content is embedded, not remembered."""
    text = gzip.decompress(path.read_bytes()).decode()
    lines = text.splitlines()
    # A well expressed gene somewhere in the middle of the table.
    row = next(i for i in range(9000, len(lines)) if float(lines[i].split("\t")[-1]) > 1000)
    *names, value = lines[row].split("\t")
    copies = []
    for number in range(REPEATS + 1):
        lines[row] = "\t".join([*names, str(float(value) + number)])
        copies.append(folder / f"copy{number}.tsv.gz")
        copies[-1].write_bytes(gzip.compress("\n".join(lines).encode(), compresslevel=1))
    return copies


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder))


def measure(folder: Path) -> None:
    """Start a server that may read `folder`, and print its costs."""
    path = str(EXAMPLE)
    copies = altered_copies(EXAMPLE, folder)
    server = Server(folder)
    info = {"name": "benchmark", "version": "0"}
    server.request(
        "initialize",
        {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info},
    )
    show("start to initialize", time.perf_counter() - server.began, server.cpu_s())
    server.send({"method": "notifications/initialized"})
    handle = server.call("embed_sample", path=path)["samples"][0]["sample"]
    show("start to first sample embedded", time.perf_counter() - server.began, server.cpu_s())

    files = iter(copies)
    warm(
        server,
        "embed_sample (one file)",
        lambda: server.call("embed_sample", path=str(next(files))),
    )
    warm(server, "nearest_cohorts (warm)", lambda: server.call("nearest_cohorts", sample=handle))
    warm(
        server,
        "predict_cancer_type (warm)",
        lambda: server.call("predict_cancer_type", sample=handle),
    )
    warm(server, "pathway_scores (warm)", lambda: server.call("pathway_scores", sample=handle))
    print(f"{'peak memory':<32} {server.peak_mb():8.0f} MB   {TARGETS['peak memory']}")
    assert server.process.stdin is not None
    server.process.stdin.close()
    server.process.wait(timeout=20)


if __name__ == "__main__":
    main()
