"""Start-up and the size of the tool list, beside other servers of the field.

Run with ``python benchmarks/peers.py``. Each server is started over stdio as a client would, one
after the other on the same machine: process start → `initialize` answered → `tools/list` answered.
CPU seconds are user + system of the process and its children, from ``/proc``, so Linux is needed;
the best of `REPEATS` starts counts, since other load only adds. Tokens are estimated at 4 letters
each, of the JSON of the tools as it goes over the wire. The other servers are installed into
build/peers in the versions of tests/peers/pins.toml; what cannot be installed is said.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "peers"))

from install import Peers  # noqa: E402 - the folder of the tests is put on the path above

REPEATS = 3
LIMIT_S = 300
CHARACTERS_PER_TOKEN = 4


def descendants(pid: int) -> list[int]:
    """Process ids of a process and all of its children that still run."""
    found = [pid]
    for parent in found:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in path.read_text().split()]
            except FileNotFoundError:  # the thread has ended meanwhile
                continue
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, of its children that ended and of those that run."""
    ticks = 0
    for number, process in enumerate(descendants(pid)):
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except FileNotFoundError:
            continue
        fields = stat.rpartition(")")[2].split()
        # utime, stime; and of the first process cutime, cstime of children it has waited for
        ticks += sum(int(field) for field in fields[11 : 15 if number == 0 else 13])
    return ticks / os.sysconf("SC_CLK_TCK")


class Server:
    """A server over stdio, spoken to line by line."""

    def __init__(self, command: list[str], folder: str) -> None:
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        self._rest = b""

    def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def request(self, number: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its result; lines that are no answer to it are passed over."""
        self.send({"id": number, "method": method, "params": params})
        while True:
            line = self._line()
            try:
                answer = json.loads(line)
            except ValueError:  # a print on stdout; clients differ in whether they survive it
                continue
            if isinstance(answer, dict) and answer.get("id") == number:
                if "result" not in answer:
                    raise RuntimeError(f"{method}: {answer.get('error')}")
                result: dict[str, Any] = answer["result"]
                return result

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while b"\n" not in self._rest:
            left = LIMIT_S - (time.perf_counter() - self.began)
            ready, _, _ = select.select([descriptor], [], [], max(left, 0))
            piece = os.read(descriptor, 1 << 16) if ready else b""
            if not piece:
                raise RuntimeError(f"no answer within {LIMIT_S} s" if not ready else "it ended")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def close(self) -> None:
        """End the server."""
        self.process.kill()
        self.process.communicate()


def measure(command: list[str]) -> dict[str, float]:
    """Start a server once; return seconds, CPU seconds and the size of its tool list."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(command, folder)
        try:
            info = {"name": "benchmark", "version": "0"}
            server.request(
                1,
                "initialize",
                {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info},
            )
            initialized = time.perf_counter() - server.began
            server.send({"method": "notifications/initialized"})
            tools: list[Any] = []
            cursor: dict[str, Any] = {}
            number = 2
            while True:
                page = server.request(number, "tools/list", cursor)
                tools += page["tools"]
                number += 1
                if not page.get("nextCursor"):
                    break
                cursor = {"cursor": page["nextCursor"]}
            return {
                "initialize": initialized,
                "listed": time.perf_counter() - server.began,
                "cpu": cpu_s(server.process.pid),
                "tools": len(tools),
                "tokens": len(json.dumps(tools, ensure_ascii=False, separators=(",", ":")))
                / CHARACTERS_PER_TOKEN,
            }
        finally:
            server.close()


def row(name: str, command: list[str]) -> str:
    """Measure a server a few times and return its line of the table."""
    try:
        runs = [measure(command) for _ in range(REPEATS)]
    except (RuntimeError, OSError, KeyError) as error:
        return f"{name:<28} does not start here: {error}"
    best = {key: min(run[key] for run in runs) for key in runs[0]}
    return (
        f"{name:<28} {best['initialize']:8.2f} {best['listed']:8.2f} {best['cpu']:8.2f} "
        f"{best['tools']:6.0f} {best['tokens']:8.0f}"
    )


def main() -> None:
    """Print the table."""
    peers = Peers()
    print(f"best of {REPEATS} starts; seconds from process start; tokens = characters / 4")
    columns = f"{'initialize':>8} {'list':>8} {'cpu':>7} {'tools':>6} {'tokens':>8}"
    print(f"{'server':<26} {columns}")
    print(row("specformer-mcp", [sys.executable, "-m", "specformer_mcp", "serve"]), flush=True)
    for name, pin in peers.pins["servers"].items():
        title = pin["requirements"][0]
        try:
            programs = peers.wait(name) / "bin"
        except Exception as error:
            print(f"{title:<28} not installed: {str(error).strip().splitlines()[-1][:120]}")
            continue
        program, *arguments = pin["command"]
        print(row(title, [str(programs / program), *arguments]), flush=True)


if __name__ == "__main__":
    main()
