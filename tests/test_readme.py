"""The README's commands run as they stand, and what it points to exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (specformer .+)$", README, flags=re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(command):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command.split(),
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if "--json" in command:
        for line in done.stdout.splitlines():
            assert {"sample", "top_type", "probabilities"} <= json.loads(line).keys()
    else:
        assert done.stdout.strip()


def test_every_kind_of_command_is_shown():
    assert len(COMMANDS) >= 7


def test_the_first_block_is_the_two_make_targets():
    block = README.split("```")[1].split("\n")
    targets = [line.split("#")[0].strip() for line in block if line.strip()]
    assert targets == ["make run", "make test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in targets:
        assert f"\n{target.removeprefix('make ')}:" in makefile


def test_links_and_client_settings_hold():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
    settings = re.search(r"```json\n(.+?)```", README, flags=re.DOTALL)
    server = json.loads(settings[1])["mcpServers"]["specformer"]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert server["command"] in scripts
