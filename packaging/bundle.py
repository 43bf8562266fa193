"""Build the MCP bundle: the wheel, its manifest and an entry point in one .mcpb file.

``python packaging/bundle.py [--wheel FILE] [--out FILE]``; without a wheel one is built with pip.
An .mcpb file is a zip archive; ``mcpb validate`` and ``mcpb info`` check what comes of this.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ROOT / "packaging" / "mcpb"
FILES = ("manifest.json", "pyproject.toml", "server.py")


def version() -> str:
    """The version of this checkout."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout into a folder."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True)  # noqa: S603
    (wheel,) = folder.glob("specformer_mcp-*.whl")
    return wheel


def write_bundle(wheel: Path, out: Path) -> Path:
    """Write the bundle.

    Parameters
    ----------
    wheel
        Wheel of this version.
    out
        Where to write; folders are made, an older bundle is replaced.
    """
    if f"-{version()}-" not in wheel.name:
        raise SystemExit(
            f"{wheel.name} is not of version {version()}, which pyproject.toml and the manifest "
            "name. Build the wheel of this checkout, or leave --wheel out."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FILES:
            archive.write(PARTS / name, name)
        archive.write(ROOT / "LICENSE", "LICENSE")
        archive.write(wheel, wheel.name, zipfile.ZIP_STORED)  # compressed already
    return out


def main() -> None:
    """Build and say where it is."""
    parser = argparse.ArgumentParser(description="Build the MCP bundle.")
    parser.add_argument("--wheel", type=Path, help="wheel to put into it; default: build one")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "dist" / f"specformer-mcp-{version()}.mcpb"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = args.wheel or build_wheel(Path(folder))
        print(write_bundle(wheel, args.out))


if __name__ == "__main__":
    main()
