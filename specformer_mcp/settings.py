"""Everything about the server that can be set, in one place.

A setting comes from a flag, from the environment (``SPECFORMER_`` and its name in capitals), from a
TOML file, or is the default; the first of these that has it wins. Only what is allowed adds up over
all of them. Flags, their help and their checks are made from the fields below.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
)

from specformer_encoder.errors import SpecformerError

PREFIX = "SPECFORMER_"
CONFIG = f"{PREFIX}CONFIG"
OTHER_VARIABLES = frozenset({CONFIG, f"{PREFIX}GDC_API"})
"""Variables of the environment that are no settings of the server."""
_ADD_UP = frozenset({"allow_dirs", "allow_hosts", "allow_origins"})
_SECRET = frozenset({"token"})


class SettingsError(SpecformerError):
    """A setting is unknown, of the wrong type, or contradicts another."""


def _expanded(value: Any) -> Any:
    return Path(value).expanduser() if isinstance(value, str) and value else value


Folder = Annotated[Path, BeforeValidator(_expanded), Field(json_schema_extra={"metavar": "DIR"})]
File = Annotated[Path, BeforeValidator(_expanded), Field(json_schema_extra={"metavar": "FILE"})]


class Settings(BaseModel):
    """What `specformer serve` is set to; see `load`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    transport: Literal["stdio", "http"] = Field("stdio", description="how clients talk to it")
    host: str = Field("127.0.0.1", min_length=1, description="address to bind to (http)")
    port: int = Field(8765, ge=1, le=65535, description="port to bind to (http)")
    allow_dirs: tuple[Folder, ...] = Field(
        (),
        description="folder that files may be read from. Over stdio the working and home "
        "directories are allowed as well, over http nothing is",
    )
    allow_hosts: tuple[str, ...] = Field(
        (), description="further Host header to accept (http), as specformer.example.org"
    )
    allow_origins: tuple[str, ...] = Field(
        (), description="further Origin header to accept (http), as https://example.org"
    )
    release: Folder | None = Field(None, description="model release; default: the bundled one")
    index: Folder | None = Field(None, description="reference index; default: the bundled one")
    index_version: str | None = Field(
        None, description="version of the index that answers are pinned to; default: the newest"
    )
    store: Literal["none"] | Folder | None = Field(
        None,
        union_mode="left_to_right",
        description="where embedded samples are kept for the next start, 'none' = in memory only; "
        "default: the user's data folder",
    )
    store_samples: int = Field(2000, ge=1, description="samples kept of one owner")
    store_bytes: int = Field(500_000_000, ge=1_000_000, description="bytes of all samples kept")
    store_days: float = Field(7.0, gt=0, description="days that an unused sample is kept")
    token: SecretStr | None = Field(
        None, min_length=16, description="bearer token that http clients have to send"
    )
    token_file: File | None = Field(
        None, description="file with bearer tokens, one a line, as TOKEN or NAME TOKEN (http)"
    )
    oauth_issuer: str | None = Field(
        None, description="issuer of the OAuth access tokens that http clients have to send"
    )
    oauth_audience: str | None = Field(
        None, description="audience that they must be for: the public address of this server"
    )
    oauth_resource: str | None = Field(
        None, description="public address of this server, if that is not the audience"
    )
    oauth_jwks: str | None = Field(
        None, description="address of the issuer's keys; default: as the issuer's metadata says"
    )
    oauth_scopes: tuple[str, ...] = Field((), description="scope that they must have")
    rate_per_minute: int = Field(
        600, ge=0, description="calls a minute of one owner or address (http), 0 = no limit"
    )
    max_concurrent: int = Field(
        128, ge=1, description="requests answered at a time; one more is refused (http)"
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="address of a proxy whose X-Forwarded-For is believed (http)"
    )
    max_body_bytes: int = Field(4 * 1024**2, ge=1024, description="largest request body (http)")
    call_timeout_s: float = Field(50.0, gt=0, description="seconds that a call may take (http)")
    workers: int = Field(1, ge=1, le=64, description="web worker processes (http)")
    queue: int = Field(64, ge=1, description="profiles that may wait for the model (http)")
    batch: int = Field(8, ge=1, description="profiles that the model takes together")
    metrics: bool = Field(False, description="serve Prometheus metrics at /metrics (http)")
    max_file_bytes: int = Field(1_000_000_000, ge=1, description="largest expression file read")
    max_inflated_bytes: int = Field(
        4_000_000_000, ge=1, description="largest expression file read, decompressed"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="what is told on stderr"
    )

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        file: Path | None = None,
    ) -> Self:
        """Put the settings together.

        Parameters
        ----------
        flags
            Setting → value, of the flags that were given.
        environ
            The environment; None = that of this process. An empty variable counts as not set.
        file
            A TOML file with settings as top-level keys; None = the one that ``SPECFORMER_CONFIG``
            names. Relative paths in it are taken from its folder.

        Raises
        ------
        SettingsError
            A setting is unknown, of the wrong type, or contradicts another, or the file cannot be
            read. Source and name of the setting are told.
        """
        environ = os.environ if environ is None else environ
        if file is None and environ.get(CONFIG):
            file = Path(environ[CONFIG]).expanduser()
        given: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for source, values in (
            (f"the file {file}", _from_file(file)),
            ("the environment", _from_environment(environ)),
            ("the command line", dict(flags or {})),
        ):
            for name, value in values.items():
                if name not in cls.model_fields:
                    raise _unknown(name, source)
                if name in _ADD_UP and name in given and isinstance(value, list | tuple):
                    given[name] = [*value, *given[name]]
                    sources[name] = f"{source} and {sources[name]}"
                else:
                    given[name], sources[name] = value, source
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            raise _invalid(error, given, sources) from None
        settings._sources.update(sources)
        settings._check_together()
        return settings

    def source_of(self, name: str) -> str:
        """Say where a setting comes from."""
        return self._sources.get(name, "default")

    def lines(self) -> list[str]:
        """Show every setting with its source; secrets are hidden."""
        shown = {name: _shown(getattr(self, name)) for name in type(self).model_fields}
        names, values = max(map(len, shown)), max(map(len, shown.values()))
        return [
            f"{name:<{names}}  {value:<{values}}  {self.source_of(name)}"
            for name, value in shown.items()
        ]

    def _check_together(self) -> None:
        if self.token is not None and self.token_file is not None:
            raise SettingsError(
                f"token ({self.source_of('token')}) and token_file "
                f"({self.source_of('token_file')}) are both given.",
                "Give one of them.",
            )
        if (self.oauth_issuer is None) != (self.oauth_audience is None):
            raise SettingsError(
                "oauth_issuer and oauth_audience belong together; only "
                f"{'oauth_audience' if self.oauth_issuer is None else 'oauth_issuer'} is given.",
                "Give both: a token for another audience must not open this server.",
            )
        if self.workers > 1 and self.transport != "http":
            raise SettingsError(
                f"workers is {self.workers}, but the transport is {self.transport}.",
                "Several workers serve http: set transport to http, or workers to 1.",
            )


def variable_of(name: str) -> str:
    """Return the variable of the environment that gives a setting."""
    return f"{PREFIX}{name.upper()}"


def is_list(name: str) -> bool:
    """Tell whether a setting takes several values."""
    return str(Settings.model_fields[name].annotation).startswith("tuple[")


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or not value:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in Settings.model_fields or variable != variable_of(name):
            raise _unknown(variable, "the environment")
        if is_list(name):
            # Folders as in PATH, since a comma may be part of a name.
            parts = value.split(os.pathsep if name == "allow_dirs" else ",")
            values[name] = [part.strip() for part in parts if part.strip()]
        else:
            values[name] = value
    return values


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The configuration file {file} cannot be read ({error}).",
            f"Check --config and {CONFIG}.",
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"The configuration file {file} is not TOML ({error}).",
            "Write one setting a line, as port = 8765.",
        ) from error
    folder = file.resolve().parent
    for name, value in values.items():
        if name in ("release", "index", "store", "token_file") and value != "none":
            values[name] = _beside(folder, value)
        if name == "allow_dirs" and isinstance(value, list):
            values[name] = [_beside(folder, one) for one in value]
    return values


def _beside(folder: Path, value: Any) -> Any:
    return folder / Path(value).expanduser() if isinstance(value, str) else value


def _unknown(name: str, source: str) -> SettingsError:
    known = list(Settings.model_fields)
    if name.startswith(PREFIX):
        known = [variable_of(one) for one in known]
    close = difflib.get_close_matches(name, known, n=1)
    return SettingsError(
        f"There is no setting {name[:80]!r} ({source}).",
        f"Did you mean {close[0]}?" if close else f"The settings are: {', '.join(known)}.",
    )


def _invalid(
    error: ValidationError, given: Mapping[str, Any], sources: Mapping[str, str]
) -> SettingsError:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    came = "a value that is not shown" if name in _SECRET else repr(given.get(name))[:100]
    expected = (
        str(first["msg"]).replace("Input should", "it should").replace("Value should", "it should")
    )
    return SettingsError(
        f"{name} ({sources.get(name, 'default')}): {expected}; got {came}.",
        f"It is: {Settings.model_fields[name].description}.",
    )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
