"""The wheel in a clean environment, the bundle by its own tool, the Dockerfile by its linter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import pytest
from mcp.client.stdio import StdioServerParameters
from server_support import MODES, ROOT, TUMOR, ask_the_three_tools, talk, text_of

LIMIT_S = 600
PARTS = ROOT / "packaging" / "mcpb"


def run(command, **more):
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        **more,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def clean_environment(**more):
    """The environment without anything that leads Python to this checkout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return kept | {"OMP_NUM_THREADS": "1", "SPECFORMER_STORE": "none"} | more


@pytest.fixture(scope="module")
def wheel(peers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run([peers.uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT])
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(peers, wheel, tmp_path_factory):
    """A new environment with the wheel and the dependencies that it names, and nothing else."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    run([peers.uv, "venv", "--quiet", "--python", sys.executable, folder])
    # The CPU build of torch: from where this machine keeps its wheels, or from torch's own index.
    links = os.environ.get("PIP_FIND_LINKS")
    source = ["--find-links", links] if links else ["--torch-backend", "cpu"]
    run(
        [
            *(peers.uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python"),
            *("--constraint", ROOT / "constraints.txt", *source, wheel),
        ]
    )
    return folder / "bin"


def test_the_wheel_holds_what_it_needs_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "specformer_encoder",
        "specformer_index",
        "specformer_mcp",
    }
    assert any(name.endswith("encoder.safetensors") for name in names)
    assert not any(name.endswith((".pkl", ".pickle", ".pt")) for name in names)
    assert wheel.stat().st_size < 100e6  # PyPI's limit for one file


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "command",
    [["specformer-mcp"], ["python", "-m", "specformer_mcp", "serve"]],
    ids=["script", "module"],
)
def test_the_wheel_answers_the_four_tools(clean, tmp_path, command, mode):
    async def conversation(client):
        answers = await ask_the_three_tools(client)
        bad = await client.call_tool("embed_sample", {"path": "missing.tsv"})
        return client.protocol_version, answers, bad

    server = StdioServerParameters(
        command=str(clean / command[0]),
        args=[*command[1:], "--allow-dir", str(TUMOR.parent)],
        env=clean_environment(),
        cwd=tmp_path,
    )
    version, answers, bad = talk(server, conversation, mode=mode)
    assert version == MODES[mode]
    assert [answer.is_error for answer in answers] == [False] * 3
    assert str(tmp_path) in text_of(bad)


def test_the_clean_environment_does_not_see_the_checkout(clean, tmp_path):
    code = (
        "import json, specformer_mcp, specformer_index, specformer_encoder as e; "
        "print(json.dumps([list(m.__path__) for m in (specformer_mcp, specformer_index, e)]))"
    )
    out = run([clean / "python", "-c", code], cwd=tmp_path, env=clean_environment())
    assert all(str(clean.parent) in path for paths in json.loads(out) for path in paths)


def test_the_command_line_of_the_wheel(clean, tmp_path):
    out = run([clean / "specformer", "--version"], cwd=tmp_path, env=clean_environment())
    assert out.startswith("specformer ")
    command = [clean / "specformer", "predict", TUMOR, "--json"]
    out = run(command, cwd=tmp_path, env=clean_environment())
    assert "LUAD" in out


@pytest.fixture(scope="module")
def bundle(wheel, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "specformer.mcpb"
    run([sys.executable, ROOT / "packaging" / "bundle.py", "--wheel", wheel, "--out", out])
    return out


def test_mcpb_accepts_the_manifest_and_the_bundle(peers, bundle, wheel, tmp_path):
    env = peers.node_environment
    assert "passes" in run(["mcpb", "validate", PARTS / "manifest.json"], env=env)
    run(["mcpb", "info", bundle], env=env)
    unpacked = tmp_path / "unpacked"
    run(["mcpb", "unpack", bundle, unpacked], env=env)
    names = {path.name for path in unpacked.iterdir()}
    assert names == {"manifest.json", "pyproject.toml", "server.py", "LICENSE", wheel.name}
    again = tmp_path / "again.mcpb"
    run(["mcpb", "pack", unpacked, again], env=env)
    assert set(zipfile.ZipFile(again).namelist()) == names


def test_mcpb_refuses_a_wrong_manifest(peers, tmp_path):
    manifest = json.loads((PARTS / "manifest.json").read_text())
    manifest["server"]["type"] = "conda"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    done = subprocess.run(
        ["mcpb", "validate", str(tmp_path / "manifest.json")],
        env=peers.node_environment,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode != 0


def test_the_bundle_starts_as_its_manifest_says(peers, bundle, clean, tmp_path):
    """The command of the manifest, in the clean environment in place of the one uv would make."""
    zipfile.ZipFile(bundle).extractall(tmp_path)
    config = json.loads((tmp_path / "manifest.json").read_text())["server"]["mcp_config"]
    filled = [
        one.replace("${__dirname}", str(tmp_path)).replace(
            "${user_config.data_directory}", str(TUMOR.parent)
        )
        for one in config["args"]
    ]
    assert not any("${" in one for one in filled)
    assert config["command"] == "uv"
    env = clean_environment(UV_PROJECT_ENVIRONMENT=str(clean.parent), UV_NO_SYNC="1")
    server = StdioServerParameters(command=str(peers.uv), args=filled, env=env, cwd=tmp_path)
    answers = talk(server, ask_the_three_tools)
    assert [answer.is_error for answer in answers] == [False] * 3


def test_the_environment_of_the_bundle_resolves(peers, bundle, tmp_path):
    """What uv would install, from PyPI alone: the wheel beside the manifest, and torch."""
    zipfile.ZipFile(bundle).extractall(tmp_path)
    project = tmp_path / "pyproject.toml"
    compiled = run(
        [
            *(peers.uv, "pip", "compile", "--quiet", "--no-sources", "--no-header"),
            *("--find-links", tmp_path, "--python", sys.executable, project),
        ]
    )
    assert "specformer-mcp==" in compiled
    assert "torch==" in compiled


def test_hadolint_finds_nothing(peers):
    assert run([peers.hadolint, "--no-color", ROOT / "Dockerfile"]) == ""
