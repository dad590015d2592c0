"""The settings in small frozen sections, and the two ways to make them.

A command line calls `load_settings`; a program calls `Settings.from_options`, with the same names:

    settings = Settings.from_options(api_key=key, ledger="postgresql://db/ledger", max_failures="2%")

Precedence: flag or keyword, environment, `.env`, file, default. Source of names: DESIGN 3.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import PrivateAttr, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from worker.config.credential_sources import (
    CredentialTables,
    find_credentials,
    read_credential_tables,
    read_env_file,
)
from worker.config.credentials import Credentials
from worker.config.destinations import notify_secrets
from worker.config.layered import LayeredSettings, reading
from worker.config.sections import Guards, Input, Logging, Output, Sending, Target, Telling
from worker.config.sources import (
    Layer,
    environment_layer,
    explain,
    flag_layer,
    listed,
    options_of,
    python_layer,
    read_toml,
    toml_layer,
)
from worker.config.values import spelt_passwords
from worker.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Settings", "load_settings"]


class Settings(LayeredSettings):
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
    telling: Telling = Telling()
    _files: tuple[tuple[str, Path], ...] = PrivateAttr(default=())

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
            problems.append("workspace_id: is given without a key; allowed: with api_key or personal_access_token")
        first = python_layer(cls, options, problems)
        path = None if config_file is None else Path(config_file)
        return _load(cls, first, path, environ or {}, credentials, problems)

    def replace(self, *, credentials: Credentials | None = None, **options: object) -> Self:
        """These settings with some options changed, by the names of the flags.

        Raises:
            ConfigError: An option is unknown or out of range; all of them are named.
        """
        problems: list[str] = []
        present: dict[str, tuple[object, str]] = {
            name: (getattr(getattr(self, option.section), option.field), name)
            for name, option in options_of(type(self)).items()
        }
        layers = (python_layer(type(self), options, problems), Layer(type(self), present))
        return _build(type(self), layers, credentials or self.target.credentials, problems, self._files)

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """The files that these settings and their keys were read from, each with what it is."""
        return self._files

    def public(self) -> dict[str, Any]:
        """The settings without keys and passwords, as JSON types; `Settings(**public)` reads them again."""
        return self.model_dump(mode="json")

    def secret_values(self) -> tuple[str, ...]:
        """Every secret that these settings hold, in the clear, for whatever removes them from output."""
        urls = (secret for url in self.telling.notify for secret in notify_secrets(url))
        return tuple(dict.fromkeys((*self.target.secret_values(), *spelt_passwords(self.output.ledger), *urls)))


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
        credentials = find_credentials(tables, {**dotenv, **_filled(environ)}, problems)
    files = () if config_file is None else (("the --config file", config_file), *tables.files())
    return _build(cls, layers, credentials, problems, files)


def _filled(environ: Mapping[str, str]) -> dict[str, str]:
    """An empty variable counts as unset."""
    return {name: value for name, value in environ.items() if value}


def _build(
    cls: type[_SettingsT],
    layers: tuple[Layer, ...],
    credentials: Credentials,
    problems: list[str],
    files: tuple[tuple[str, Path], ...],
) -> _SettingsT:
    try:
        with reading(layers):
            settings = cls(target={"credentials": credentials})
    except ValidationError as error:
        raise ConfigError(listed([*problems, *explain(error, cls, layers)])) from None
    if problems:
        raise ConfigError(listed(problems))
    settings._files = files
    return settings
