"""Where settings come from, which one wins, and what is said of a wrong one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from server_support import environment

from specformer_encoder.errors import SpecformerError
from specformer_mcp.cli import main
from specformer_mcp.commands import serve
from specformer_mcp.http import HttpOptionsError
from specformer_mcp.http.from_settings import http_options
from specformer_mcp.samples import SampleStore
from specformer_mcp.settings import Settings, SettingsError, variable_of


def write(path, text):
    path.write_text(text)
    return path


def test_flags_win_over_the_environment_over_the_file_over_defaults(tmp_path):
    file = write(tmp_path / "c.toml", "port = 1001\nhost = 'file'\nstore_days = 3\n")
    environ = {"SPECFORMER_PORT": "1002", "SPECFORMER_HOST": "environment", "OTHER": "x"}
    settings = Settings.load({"port": "1003"}, environ, file)
    assert (settings.port, settings.host, settings.store_days) == (1003, "environment", 3.0)
    assert settings.transport == "stdio"
    assert settings.source_of("port") == "the command line"
    assert settings.source_of("host") == "the environment"
    assert settings.source_of("store_days") == f"the file {file}"
    assert settings.source_of("transport") == "default"


def test_what_is_allowed_adds_up(tmp_path):
    file = write(tmp_path / "c.toml", "allow_dirs = ['data', '/abs']\nallow_hosts = ['a']\n")
    environ = {"SPECFORMER_ALLOW_DIRS": os.pathsep.join(["/e1", "/e,2"])}
    settings = Settings.load({"allow_dirs": ["/flag"]}, environ, file)
    assert settings.allow_dirs == tuple(
        map(Path, ["/flag", "/e1", "/e,2", str(tmp_path / "data"), "/abs"])
    )
    assert settings.allow_hosts == ("a",)
    environ = {"SPECFORMER_OAUTH_SCOPES": "read, write"}
    assert Settings.load({}, environ).oauth_scopes == ("read", "write")


def test_the_environment_names_the_file(tmp_path):
    file = write(tmp_path / "c.toml", "port = 1001\nrelease = 'mine'\nstore = 'none'\n")
    settings = Settings.load({}, {"SPECFORMER_CONFIG": str(file), "SPECFORMER_HOST": ""})
    assert settings.port == 1001
    assert settings.release == tmp_path / "mine"
    assert settings.store == "none"
    assert settings.host == "127.0.0.1"  # an empty variable is none


@pytest.mark.parametrize(
    ("flags", "environ", "text", "said"),
    [
        ({}, {}, "prot = 1", ["'prot'", "c.toml", "Did you mean port?"]),
        ({}, {}, "[http]\nport = 1", ["'http'", "c.toml", "The settings are"]),
        ({}, {"SPECFORMER_ALLOW_DIR": "/x"}, "", ["SPECFORMER_ALLOW_DIR'", "ALLOW_DIRS?"]),
        ({}, {"SPECFORMER_port": "1"}, "", ["SPECFORMER_port", "SPECFORMER_PORT?"]),
        ({"port": "abc"}, {}, "", ["port (the command line)", "integer", "'abc'", "address"][:3]),
        ({"port": "99999"}, {}, "", ["port (the command line)", "65535"]),
        ({}, {"SPECFORMER_STORE_DAYS": "-1"}, "", ["store_days (the environment)", "greater"]),
        ({}, {}, "allow_hosts = 'one'", ["allow_hosts (the file", "tuple", "'one'"]),
        ({}, {}, "port = 80.5", ["port (the file", "integer", "80.5"]),
        ({}, {}, "transport = 'tcp'", ["transport (the file", "'stdio' or 'http'", "'tcp'"]),
        ({}, {}, "port = ", ["c.toml is not TOML"]),
        ({"workers": "2"}, {}, "", ["workers is 2", "stdio"]),
        ({"oauth_issuer": "https://i"}, {}, "", ["oauth_audience", "belong together"]),
        ({}, {"SPECFORMER_TOKEN": "x" * 20, "SPECFORMER_TOKEN_FILE": "/f"}, "", ["both given"]),
    ],
)
def test_a_wrong_setting_is_named_with_its_source(tmp_path, flags, environ, text, said):
    with pytest.raises(SettingsError) as caught:
        Settings.load(flags, environ, write(tmp_path / "c.toml", text))
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read(tmp_path, content):
    file = tmp_path / "c.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"c\.toml cannot be read .*--config"):
        Settings.load({}, {}, file)


def test_secrets_are_never_shown():
    secret = "a-very-secret-token"  # noqa: S105
    settings = Settings.load({}, {"SPECFORMER_TOKEN": secret})
    assert list(http_options(settings).tokens.values()) == [secret]
    assert secret not in "\n".join(settings.lines()) + repr(settings)
    with pytest.raises(SettingsError) as caught:
        Settings.load({}, {"SPECFORMER_TOKEN": "short secret"})
    assert "short secret" not in str(caught.value)
    assert "at least 16" in str(caught.value)


def test_the_token_file(tmp_path):
    file = write(tmp_path / "token", "0123456789abcdef\n")
    settings = Settings.load({"token_file": str(file)}, {})
    assert http_options(settings).tokens == {"token": "0123456789abcdef"}
    file.write_text("short")
    with pytest.raises(HttpOptionsError, match=r"at least 16\s+characters"):
        http_options(settings)
    file.unlink()
    with pytest.raises(HttpOptionsError, match="cannot be read"):
        http_options(settings)


def test_every_setting_but_the_secret_one_is_a_flag(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert variable_of(name) in shown or name == "token"
        assert str(field.description) in shown or name == "token"
    for flag in ("--allow-dir DIR", "--allow-host HOST", "--allow-origin ORIGIN", "--port PORT"):
        assert flag in shown
    assert "--token " not in shown


def test_show_settings(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SPECFORMER_STORE_SAMPLES", "10")
    file = write(tmp_path / "c.toml", "port = 1001\n")
    arguments = ["serve", "--show-settings", "--config", str(file), "--allow-dir", str(tmp_path)]
    assert main([*arguments, "--transport", "http", "--metrics"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines.keys() == Settings.model_fields.keys()
    assert lines["port"].split(maxsplit=2)[1:] == ["1001", f"the file {file}"]
    assert lines["store_samples"].endswith("the environment")
    assert lines["allow_dirs"].split(maxsplit=2)[1:] == [str(tmp_path), "the command line"]
    assert lines["metrics"].split()[1] == "True"


def test_a_wrong_setting_ends_the_start_with_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "specformer_mcp", "serve", "--port", "x"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == 1
    assert "port (the command line): it should be a valid integer" in done.stderr
    assert "Traceback" not in done.stderr


def test_answers_can_be_pinned_to_a_version_of_the_index():
    engine = serve._engine(Settings.load({"index_version": "no such version"}, {}, None))
    with pytest.raises(SpecformerError, match="no such version"):
        engine.loaded()


def test_the_store_is_as_it_was_set(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    store = serve.open_store(Settings.load({"store_samples": 7}, {}))
    assert isinstance(store, SampleStore)
    assert (store.capacity, store.directory) == (7, tmp_path / "specformer")
    assert serve.open_store(Settings.load({"store": "none"}, {})).directory is None
    assert serve.open_store(Settings.load({"store": str(tmp_path)}, {})).directory == tmp_path
    assert list(tmp_path.iterdir()) == []  # nothing is written before it is used
