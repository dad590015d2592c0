"""The settings in small frozen sections, and the two ways to make them.

A command line calls `load_settings`; a program calls `Settings.from_options`, with the same names:

    settings = Settings.from_options(api_key=key, ledger="postgresql://db/ledger", max_failures="2%")

Precedence: flag or keyword, environment, `.env`, file, default. Source of names: DESIGN 3.
"""

from __future__ import annotations

from contextvars import ContextVar
from datetime import time, timedelta  # noqa: TC003 - pydantic reads the annotations at run time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from worker.config.credential_sources import (
    CredentialTables,
    find_credentials,
    read_credential_tables,
    read_env_file,
)
from worker.config.credentials import Credentials
from worker.config.sources import (
    Layer,
    Leaf,
    environment_layer,
    explain,
    flag_layer,
    listed,
    options_of,
    python_layer,
    read_toml,
    toml_layer,
)
from worker.config.values import (
    Bound,
    format_deadline,
    hide_password,
    parse_deadline,
    parse_endpoint,
    parse_mapping,
    parse_proxy,
    parse_seconds,
    url_password,
)
from worker.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Guards", "Input", "Logging", "Output", "Sending", "Settings", "Target", "load_settings"]


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("is not a number")  # noqa: TRY004 - pydantic turns only ValueError into its own
    return value


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError("is not a file")
    return path


def _text_encoding(name: str) -> str:
    try:
        "".encode(name).decode(name)
    except (LookupError, ValueError):
        raise ValueError("is not a text encoding that Python knows") from None
    return name


_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
_Number = BeforeValidator(_not_bool)
_Seconds = Annotated[float, BeforeValidator(parse_seconds)]
_SecretUrl = Annotated[_Text, PlainSerializer(hide_password, when_used="json")]
_FIELDS = "FIELD=COLUMN, with FIELD one of acs_credential_id, acs_user_id, user_identity_id, workspace_id"
_MappedField = Literal["acs_credential_id", "acs_user_id", "user_identity_id", "workspace_id"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class Target(_Section):
    """The service, how it is reached, and the keys that open it."""

    endpoint: Annotated[
        str,
        BeforeValidator(parse_endpoint),
        Leaf("https://HOST[:PORT][/PATH]; http:// to this machine only", seam_env="SEAM_ENDPOINT"),
    ] = "https://connect.getseam.com"
    """Base URL without a trailing `/`; its host is lower case and a default port is left out."""
    proxy: Annotated[
        _SecretUrl | None,
        BeforeValidator(lambda value: value if value is None else parse_proxy(value)),
        Leaf("http[s]://[USER:PASSWORD@]HOST[:PORT]", is_secret=True),
    ] = Field(default=None, repr=False)
    """Requests go through it; the usual proxy variables of the environment are not read."""
    ca_file: Annotated[
        Annotated[Path, AfterValidator(_existing_file)] | None,
        Leaf("a file of PEM certificates", is_path=True),
    ] = None
    """Certificates to trust in place of the system's, for a private endpoint."""
    credentials: InstanceOf[Credentials] = Field(default_factory=Credentials, exclude=True)


class Sending(_Section):
    """How rows are sent."""

    concurrency: Annotated[int, _Number] = Field(default=256, ge=1, le=4096)
    """Upper bound on requests in flight; the throttle finds its own way below it."""
    rate: Annotated[
        Annotated[float, _Number, Field(gt=0)] | None, Leaf("a number of requests a second above 0")
    ] = None
    """Upper bound on requests a second."""
    timeout: Annotated[_Seconds, Leaf("0.1 to 600 seconds, or a duration such as 45s or 2m")] = Field(
        default=30.0, ge=0.1, le=600
    )
    """Seconds for one whole attempt."""
    max_attempts: Annotated[int, _Number] = Field(default=5, ge=1, le=100)
    """Assign calls for one row; 429 and outages apart."""
    outage_patience: Annotated[_Seconds, Leaf("0 to 604800 seconds, or a duration such as 90m or 2h30m")] = (
        Field(default=1800.0, ge=0, le=604_800)
    )
    """Seconds for which a service that is down is waited for before the run ends, resumable."""
    details: bool = True
    """Read a credential's details where the reply to assign carries none."""
    takeover: Literal["allow", "refuse"] | None = None
    """Whether another owner may be replaced; None is the command's own: a plain run allows, sync refuses."""


class Guards(_Section):
    """What ends a run before its last row, resumable."""

    max_failures: Annotated[
        InstanceOf[Bound] | None,
        BeforeValidator(lambda value: value if value is None else Bound.parse(value)),
        PlainSerializer(lambda value: value and str(value), when_used="json"),
        Leaf("a number of rows (20) or a percentage (5%)"),
    ] = None
    """As many failed rows as this are borne."""
    deadline: Annotated[
        InstanceOf[time] | InstanceOf[timedelta] | None,
        BeforeValidator(lambda value: value if value is None else parse_deadline(value)),
        PlainSerializer(lambda value: value and format_deadline(value), when_used="json"),
        Leaf("a time of day (06:00) or a duration (90m, 2h30m, 45s)"),
    ] = None
    """When to stop sending; `resolve_deadline` says which moment that is."""


class Input(_Section):
    """How the file of jobs is read, where that cannot be told from the file."""

    format: Literal["csv", "jsonl"] | None = None
    """None goes by the file's name."""
    encoding: Annotated[
        Annotated[_Text, AfterValidator(_text_encoding)] | None,
        Leaf("a text encoding, such as utf-8 or cp1252"),
    ] = None
    """None is UTF-8."""
    mapping: Annotated[
        dict[_MappedField, _Text], BeforeValidator(parse_mapping), Leaf(_FIELDS, name="map")
    ] = Field(default_factory=dict)
    """The input's column for a field, where the names differ."""


class Output(_Section):
    """Where the record goes."""

    ledger: Annotated[_SecretUrl | None, Leaf("a path or a database URL", is_path=True, is_secret=True)] = (
        Field(default=None, repr=False)
    )
    """A URL, or a path of an SQLite file; None is `assign-ledger.db` beside the input."""
    results: Annotated[Path | None, Leaf("a path", is_path=True)] = None
    """None is a file beside the input."""
    include_codes: bool = False
    """Write PINs and card numbers in the clear."""
    raw_cells: bool = False
    """Leave cells that a spreadsheet would run as they are."""
    name: _Text | None = None
    """What history compares by; None is the input file's name."""


class Logging(_Section):
    """What is said on stderr while a command works."""

    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    quiet: bool = False
    """Say nothing but warnings and the result."""
    progress: bool = True
    """Show a bar where stderr is a terminal."""


_layers: ContextVar[tuple[Layer, ...]] = ContextVar("_layers", default=())


class Settings(BaseSettings):
    """All settings of one command, frozen.

    `Settings(sending=Sending(concurrency=64))` works too; it reads neither environment nor files, and raises
    pydantic's `ValidationError`.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    target: Target = Target()
    sending: Sending = Sending()
    guards: Guards = Guards()
    input: Input = Input()
    output: Output = Output()
    logging: Logging = Logging()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the base's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what was given and the layers of the load under way; nothing is read unasked."""
        return (init_settings, *_layers.get())

    @classmethod
    def from_options(  # noqa: PLR0913 - keywords, each of them optional
        cls,
        *,
        config_file: Path | str | None = None,
        environ: Mapping[str, str] | None = None,
        api_key: str | SecretStr | None = None,
        personal_access_token: str | SecretStr | None = None,
        workspace_id: str | None = None,
        workspace_keys: Mapping[str, str | SecretStr] | None = None,
        **options: object,
    ) -> Self:
        """Make settings in a program.

        Args:
            config_file: A TOML file of settings, as for `--config`.
            environ: Where variables are read; None reads none. Pass `os.environ` to use the process's own.
            api_key: The key of one workspace.
            personal_access_token: The token for many; excludes `api_key`.
            workspace_id: The workspace of rows that name none (UUID).
            workspace_keys: API keys by workspace id.
            **options: By the names of the flags, with underscores: `concurrency=64`, `max_failures="2%"`,
                `deadline=timedelta(hours=2)`, `map={"acs_user_id": "person"}`. None leaves a setting alone.

        Raises:
            ConfigError: An option is unknown or out of range; all of them are named.
        """
        problems: list[str] = []
        credentials = None
        if api_key or personal_access_token or workspace_keys:
            credentials = Credentials.of(
                api_key=api_key,
                personal_access_token=personal_access_token,
                workspace_id=workspace_id,
                workspace_keys=workspace_keys,
            )
        elif workspace_id is not None:
            problems.append(
                "workspace_id: is given without a key; allowed: with api_key or personal_access_token"
            )
        first = python_layer(cls, options, problems)
        path = None if config_file is None else Path(config_file)
        return _load(cls, first, path, environ or {}, credentials, problems)

    def replace(self, *, credentials: Credentials | None = None, **options: object) -> Self:
        """These settings with some options changed, by the names of the flags.

        Raises:
            ConfigError: An option is unknown or out of range; all of them are named.
        """
        problems: list[str] = []
        present = {
            name: (getattr(getattr(self, option.section), option.field), name)
            for name, option in options_of(type(self)).items()
        }
        layers = (python_layer(type(self), options, problems), Layer(type(self), present))
        return _build(type(self), layers, credentials or self.target.credentials, problems)

    def public(self) -> dict[str, Any]:
        """The settings without keys and passwords, as JSON types; `Settings(**public)` reads them again."""
        return self.model_dump(mode="json")

    def secret_values(self) -> tuple[str, ...]:
        """Every secret that these settings hold, in the clear, for whatever removes them from output."""
        passwords = (url_password(self.output.ledger), url_password(self.target.proxy))
        return (*self.target.credentials.secret_values(), *(word for word in passwords if word))


def load_settings(
    flags: Mapping[str, object],
    *,
    config_file: Path | None = None,
    environ: Mapping[str, str],
    keys: bool = True,
) -> Settings:
    """Load the settings of a command.

    Args:
        flags: By option name with underscores, as click gives them; None means that the flag was not given.
        config_file: The `--config` file.
        environ: The environment, such as `os.environ`.
        keys: Look for keys. A command that sends nothing passes False and opens no key file.

    Raises:
        ConfigError: Something is unknown, out of range or contradictory; all of it is named in one message,
            each with the key as the user wrote it. No secret is shown.
    """
    problems: list[str] = []
    first = flag_layer(Settings, flags, problems)
    return _load(Settings, first, config_file, environ, None if keys else Credentials(), problems)


_SettingsT = TypeVar("_SettingsT", bound=Settings)


def _load(  # noqa: PLR0913, PLR0917 - the parts of one load, from two callers
    cls: type[_SettingsT],
    first: Layer,
    config_file: Path | None,
    environ: Mapping[str, str],
    credentials: Credentials | None,
    problems: list[str],
) -> _SettingsT:
    document = {} if config_file is None else read_toml(config_file)
    tables = CredentialTables()
    if config_file is not None:
        tables = read_credential_tables(document, config_file, problems)
    dotenv = read_env_file(tables.env_file)
    layers = (
        first,
        environment_layer(cls, environ, problems),
        environment_layer(cls, dotenv, problems, f"{tables.env_file}: "),
        toml_layer(cls, document, config_file or Path(), problems),
    )
    if credentials is None:
        credentials = find_credentials(tables, {**dotenv, **environ}, problems)
    return _build(cls, layers, credentials, problems)


def _build(
    cls: type[_SettingsT], layers: tuple[Layer, ...], credentials: Credentials, problems: list[str]
) -> _SettingsT:
    token = _layers.set(layers)
    try:
        settings = cls(target={"credentials": credentials})
    except ValidationError as error:
        raise ConfigError(listed([*problems, *explain(error, cls, layers)])) from None
    finally:
        _layers.reset(token)
    if problems:
        raise ConfigError(listed(problems))
    return settings
