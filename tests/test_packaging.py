"""What describes the package to others: server.json, the MCP bundle, meta.yaml, the Dockerfile.

The registries' JSON schemas cannot be fetched where the tests run, and some let unknown keys pass.
So the relevant parts are written out here (required keys, patterns, limits, enumerations of what
the files use: server.json from the edition of 2025-12-11, meta.yaml from BioContextAI's) and closed
against unknown keys. What `mcpb`, hadolint and a clean environment say is in
tests/peers/test_packages.py.
"""

import json
import re
import tomllib

import jsonschema
import pytest
import yaml
from server_support import ROOT, http_server

import specformer_mcp
from specformer_mcp.cli import COMMANDS


def closed(properties, required):
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


TEXT = {"type": "string"}
INPUT = {
    "description": TEXT,
    "isRequired": {"type": "boolean"},
    "isSecret": {"type": "boolean"},
    "format": {"enum": ["string", "number", "boolean", "filepath"]},
    "default": TEXT,
    "placeholder": TEXT,
    "value": TEXT,
    "choices": {"type": "array", "items": TEXT},
}
NAMED = closed(
    {**INPUT, "type": {"const": "named"}, "name": TEXT, "isRepeated": {"type": "boolean"}},
    ["type", "name"],
)
POSITIONAL = closed(
    {
        **INPUT,
        "type": {"const": "positional"},
        "valueHint": TEXT,
        "isRepeated": {"type": "boolean"},
    },
    ["type", "valueHint"],
)
ARGUMENT = {"anyOf": [NAMED, POSITIONAL]}
PACKAGE = closed(
    {
        "registryType": {"enum": ["npm", "pypi", "oci", "nuget", "mcpb"]},
        "registryBaseUrl": {"type": "string", "format": "uri"},
        "identifier": {"type": "string", "minLength": 1},
        "version": {"type": "string", "minLength": 1, "not": {"const": "latest"}},
        "fileSha256": {"type": "string", "pattern": "^[a-f0-9]{64}$"},
        "runtimeHint": TEXT,
        "transport": closed({"type": {"const": "stdio"}}, ["type"]),
        "runtimeArguments": {"type": "array", "items": ARGUMENT},
        "packageArguments": {"type": "array", "items": ARGUMENT},
        "environmentVariables": {
            "type": "array",
            "items": closed({**INPUT, "name": TEXT}, ["name"]),
        },
    },
    ["registryType", "identifier", "transport"],
)
SCHEMA = closed(
    {
        "$schema": {
            "const": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
        },
        "name": {
            "type": "string",
            "pattern": "^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$",
            "minLength": 3,
            "maxLength": 200,
        },
        "title": {"type": "string", "minLength": 1, "maxLength": 100},
        "description": {"type": "string", "minLength": 1, "maxLength": 100},
        "version": {"type": "string", "maxLength": 255, "pattern": r"^\d+\.\d+\.\d+$"},
        "websiteUrl": {"type": "string", "format": "uri"},
        "repository": closed(
            {"url": TEXT, "source": TEXT, "id": TEXT, "subfolder": TEXT}, ["url", "source"]
        ),
        "packages": {"type": "array", "items": PACKAGE, "minItems": 1},
        "remotes": {"type": "array"},
        "_meta": {"type": "object"},
    },
    ["$schema", "name", "description", "version", "packages"],
)


def document():
    return json.loads((ROOT / "server.json").read_text())


def test_server_json_is_valid():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(document())


@pytest.mark.parametrize("key", ["name", "description", "version"])
def test_the_schema_notices_a_missing_key(key):
    data = document()
    del data[key]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(SCHEMA).validate(data)


def test_the_schema_notices_an_unknown_key():
    data = document()
    data["packages"][0]["registry_type"] = "pypi"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(SCHEMA).validate(data)


def test_the_readme_proves_the_name():
    """The registry looks for this line in the README that PyPI shows."""
    assert f"mcp-name: {document()['name']}" in (ROOT / "README.md").read_text()


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def manifest():
    return json.loads((ROOT / "packaging" / "mcpb" / "manifest.json").read_text())


def meta():
    return yaml.safe_load((ROOT / "meta.yaml").read_text())


def test_one_version_everywhere():
    data = document()
    bundle = tomllib.loads((ROOT / "packaging" / "mcpb" / "pyproject.toml").read_text())
    versions = {
        "pyproject.toml": project()["version"],
        "__version__": specformer_mcp.__version__,
        "server.json": data["version"],
        "server.json, package": data["packages"][0]["version"],
        "manifest.json": manifest()["version"],
        "bundle": bundle["project"]["version"],
    }
    assert len(set(versions.values())) == 1, versions


def test_one_name_and_one_address_everywhere():
    data = document()
    name, address = project()["name"], project()["urls"]["Repository"]
    assert data["packages"][0]["identifier"] == manifest()["name"] == name
    assert data["name"] == f"io.github.{meta()['identifier']}"
    assert address == f"https://github.com/{meta()['identifier']}"
    assert data["repository"] == {"url": address, "source": "github"}
    assert manifest()["repository"]["url"] == meta()["codeRepository"] == meta()["@id"] == address


def test_the_bundle_asks_python_for_what_the_package_asks():
    bundle = tomllib.loads((ROOT / "packaging" / "mcpb" / "pyproject.toml").read_text())["project"]
    python = project()["requires-python"]
    assert bundle["requires-python"] == manifest()["compatibility"]["runtimes"]["python"] == python
    torch = {one for one in project()["dependencies"] if one.startswith("torch")}
    assert torch <= set(bundle["dependencies"])


META = closed(
    {
        "@context": {"const": "https://schema.org"},
        "@type": {"const": "SoftwareApplication"},
        "@id": {"type": "string", "pattern": "^https://"},
        "additionalType": {
            "type": "array",
            "items": {
                "enum": [
                    "https://schema.org/ScholarlyArticle",
                    "https://schema.org/SoftwareSourceCode",
                ]
            },
        },
        "identifier": {"type": "string", "pattern": "^[a-zA-Z0-9_-]+/[a-zA-Z0-9_.-]+$"},
        "name": {"type": "string", "minLength": 1, "maxLength": 100},
        "description": {"type": "string", "minLength": 10, "maxLength": 1000},
        "codeRepository": {
            "type": "string",
            "pattern": "^https://(github.com|gitlab.com)/[a-zA-Z0-9_-]+/[a-zA-Z0-9_.-]+$",
        },
        "url": {"type": "string", "pattern": "^https://"},
        "maintainer": {
            "type": "array",
            "minItems": 1,
            "items": closed(
                {
                    "@type": {"enum": ["Person", "Organization"]},
                    "name": TEXT,
                    "identifier": TEXT,
                    "url": {"type": "string", "pattern": "^https://"},
                },
                ["@type", "name"],
            ),
        },
        "license": {
            "type": "string",
            "pattern": r"^https://spdx\.org/licenses/[A-Za-z0-9.-]+\.html$",
        },
        "keywords": {
            "type": "array",
            "minItems": 1,
            "maxItems": 10,
            "uniqueItems": True,
            "items": {"type": "string", "minLength": 2, "maxLength": 30},
        },
        "applicationCategory": {"const": "HealthApplication"},
        "operatingSystem": {"type": "array", "items": {"const": "Cross-platform"}},
        "programmingLanguage": {"type": "array", "items": {"const": "Python"}, "minItems": 1},
        "featureList": {"type": "array", "items": TEXT, "uniqueItems": True},
    },
    [
        "@context",
        "@type",
        "@id",
        "identifier",
        "name",
        "description",
        "codeRepository",
        "maintainer",
        "license",
        "applicationCategory",
        "keywords",
        "programmingLanguage",
    ],
)


def test_meta_yaml_is_valid():
    jsonschema.Draft202012Validator(META).validate(meta())


@pytest.mark.parametrize(
    "change",
    [{"keywords": [f"keyword{i}" for i in range(11)]}, {"license": "MIT"}, {"softwareHelp": "x"}],
)
def test_the_rules_notice_a_wrong_meta_yaml(change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(META).validate(meta() | change)


def stages():
    """Return the stages of the Dockerfile: name → base and its instructions, without comments."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        instruction, rest = re.split(r"\s+", line.strip(), maxsplit=1)
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = [("FROM", base)]
        else:
            list(found.values())[-1].append((instruction, re.sub(r"\s+", " ", rest)))
    return found


def test_the_images_run_as_a_user_from_a_pinned_base():
    found = stages()
    assert set(found) == {"wheel", "base", "stdio", "http"}
    for name in ("wheel", "base"):
        assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", found[name][0][1])
    for name in ("stdio", "http"):
        assert found[name][0] == ("FROM", "base")
    instructions = dict(found["base"])
    assert instructions["USER"].isdigit()
    assert int(instructions["USER"]) > 0
    assert f"--uid {instructions['USER']}" in instructions["RUN"]
    order = [name for name, _ in found["base"]]
    assert order.index("USER") > order.index("RUN")


def test_what_the_image_copies_is_there_and_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert "*" in ignored
    for name in kept:
        assert (ROOT / name).exists(), name
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    parts = wheel["targets"]["wheel"]["packages"] + list(wheel["targets"]["wheel"]["force-include"])
    assert {part.split("/")[0] for part in parts} <= kept
    assert {"pyproject.toml", "README.md", "LICENSE", "constraints.txt"} <= kept


def test_the_entry_point_of_the_image_serves():
    """The image's own command line, on a free port, answers the image's own health check."""
    command = json.loads(dict(stages()["http"])["ENTRYPOINT"])
    assert command[0] in project()["scripts"]
    options = command[1:]
    assert options[:2] == ["--transport", "http"]
    port = options.index("--port")
    del options[port : port + 2]
    with http_server(*options[2:]) as base:
        number = base.rpartition(":")[2]
        check = json.loads(dict(stages()["http"])["HEALTHCHECK"].partition(" CMD ")[2])
        assert check[:2] == ["python", "-c"]
        exec(check[2].replace("8765", number), {})  # noqa: S102 - the check is what is tested


def test_the_pages_name_commands_that_exist():
    """Every `specformer …` in docs/install.md is a command."""
    text = (ROOT / "docs" / "install.md").read_text()
    named = set(re.findall(r"^(?:\$ )?specformer ([a-z]+)", text, flags=re.MULTILINE))
    assert named
    assert named <= set(COMMANDS)


def json_blocks():
    text = (ROOT / "docs" / "install.md").read_text()
    return re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("block", json_blocks())
def test_the_client_settings_of_the_page_start_the_server(block):
    settings = json.loads(block)
    (servers,) = [settings[key] for key in ("mcpServers", "servers") if key in settings]
    entry = servers["specformer"]
    assert set(entry) <= {"command", "args", "env", "type", "url"}
    if "command" in entry:
        assert entry["command"] in {"uvx", "specformer-mcp", "docker"}


def test_the_toml_settings_of_the_page_are_toml():
    text = (ROOT / "docs" / "install.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    entry = tomllib.loads(block)["mcp_servers"]["specformer"]
    assert entry["command"] == "uvx"
    assert entry["startup_timeout_sec"] >= 10
