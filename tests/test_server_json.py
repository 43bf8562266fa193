"""server.json against the registry's rules.

The registry's JSON schema cannot be fetched where the tests run, and it lets unknown keys pass. So
the relevant part is written out here from its 2025-12-11 edition (required keys, patterns, limits,
enumerations of what this file uses) and closed against unknown keys.
"""

import json
import tomllib

import jsonschema
import pytest
from server_support import ROOT

import specformer_mcp


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
ARGUMENT = closed(
    {
        **INPUT,
        "type": {"enum": ["positional", "named"]},
        "name": TEXT,
        "valueHint": TEXT,
        "isRepeated": {"type": "boolean"},
    },
    ["type"],
)
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


def test_one_version_everywhere():
    data = document()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert data["version"] == project["version"] == specformer_mcp.__version__
    assert data["packages"][0]["version"] == project["version"]
    assert data["packages"][0]["identifier"] == project["name"]
