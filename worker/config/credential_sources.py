"""Finds the keys: in the environment, the `.env`, and where `[credentials]` and `[workspaces]` point to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

from worker.config.credentials import (
    API_KEY_ENV,
    TOKEN_ENV,
    WORKSPACE_ENV,
    Credentials,
    KeyKind,
    ResolvedKey,
    make_key,
    parse_workspace_id,
    read_key_file,
)
from worker.config.sources import suggest
from worker.errors import ConfigError

__all__ = ["CredentialTables", "find_credentials", "read_credential_tables", "read_env_file"]

_LITERAL_NAMES = re.compile(
    r"(seam_)?(api_?key|personal_access_token|access_token|token|key|secret|pat)", re.IGNORECASE
)
_LITERAL_VALUE = re.compile(r"\s*(seam_|ey[A-Za-z0-9])")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_LITERAL = (
    "a key does not belong in this file; put it into the environment, into the .env that env_file names, "
    "or alone into a file that key_file names"
)


@dataclass(frozen=True, slots=True)
class _WorkspaceKey:
    label: str
    variable: str | None
    file: Path | None


@dataclass(frozen=True, slots=True)
class CredentialTables:
    """What a file of settings says about keys; no key itself."""

    env_file: Path | None = None
    key_file: Path | None = None
    workspaces: Mapping[str, _WorkspaceKey] = field(default_factory=dict)

    def files(self) -> tuple[tuple[str, Path], ...]:
        """The files that keys are read from, each with what it is."""
        key_files = (self.key_file, *(entry.file for entry in self.workspaces.values()))
        named = (
            ("the env_file of the settings", self.env_file),
            *(("a key_file of the settings", key) for key in key_files),
        )
        return tuple((what, path) for what, path in named if path is not None)


def _strings(table: object, label: str, known: tuple[str, ...], problems: list[str]) -> dict[str, str]:
    if not isinstance(table, Mapping):
        problems.append(f"{label}: is a section; allowed: the keys {', '.join(known)}")
        return {}
    values = {}
    for key, value in table.items():
        literal = isinstance(value, str) and _LITERAL_VALUE.match(value)
        if literal or (key not in known and _LITERAL_NAMES.fullmatch(key)):
            problems.append(f"{label} {key}: {_NO_LITERAL}")
        elif key not in known:
            problems.append(f"{label} {key}: no such key{suggest(key, known)}")
        elif not isinstance(value, str) or not value.strip():
            problems.append(f"{label} {key}: is not allowed; allowed: text that is not empty")
        else:
            values[key] = value.strip()
    return values


def read_credential_tables(document: dict[str, Any], path: Path, problems: list[str]) -> CredentialTables:
    """Take `[credentials]` and `[workspaces]` out of a file's content and check their shape."""
    label = f"{path} [credentials]"
    own = _strings(document.pop("credentials", {}), label, ("env_file", "key_file"), problems)
    workspaces: dict[str, _WorkspaceKey] = {}
    tables = document.pop("workspaces", {})
    if not isinstance(tables, Mapping):
        problems.append(f'{path} [workspaces]: is a section; allowed: [workspaces."UUID"]')
        tables = {}
    for name, table in tables.items():
        label = f'{path} [workspaces."{name}"]'
        try:
            workspace = parse_workspace_id(name, f"{path} [workspaces]")
        except ConfigError as error:
            problems.append(str(error))
            continue
        if workspace in workspaces:
            problems.append(f"{label}: stands there twice")
        values = _strings(table, label, ("api_key_env", "key_file"), problems)
        variable, file = values.get("api_key_env"), values.get("key_file")
        if variable is not None and not _ENV_NAME.fullmatch(variable):
            problems.append(f"{label} api_key_env: is not allowed; allowed: the name of an environment variable")
        elif variable is not None and file is not None:
            problems.append(f"{label}: has both api_key_env and key_file; give one of them")
        elif variable is not None or file is not None:
            workspaces[workspace] = _WorkspaceKey(label, variable, _beside(path, file))
        elif not table:
            problems.append(f"{label}: is empty; allowed: api_key_env or key_file")
    return CredentialTables(
        env_file=_beside(path, own.get("env_file")),
        key_file=_beside(path, own.get("key_file")),
        workspaces=workspaces,
    )


def _beside(path: Path, name: str | None) -> Path | None:
    return None if name is None else path.parent / Path(name).expanduser()


def read_env_file(path: Path | None) -> dict[str, str]:
    """Read a `.env`, without expanding `$`, which keys may hold; one that is not there is empty.

    Raises:
        ConfigError: It is there and cannot be read.
    """
    if path is None or not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8-sig") as file:
            bindings = list(parse_stream(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"env_file {path} cannot be read: {reason}") from None
    broken = next((binding.original.line for binding in bindings if binding.error), None)
    if broken is not None:
        raise ConfigError(f"env_file {path}, line {broken}: cannot be read; allowed: NAME=VALUE, quotes closed")
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value}


def _default_key(tables: CredentialTables, environ: Mapping[str, str], home: str | None) -> ResolvedKey | None:
    api_key, token = environ.get(API_KEY_ENV), environ.get(TOKEN_ENV)
    if api_key and token:
        raise ConfigError(f"{API_KEY_ENV} and {TOKEN_ENV} are both set; unset one of them")
    if api_key:
        return make_key(api_key, API_KEY_ENV, KeyKind.API_KEY, home)
    if token:
        return make_key(token, TOKEN_ENV, KeyKind.PERSONAL_ACCESS_TOKEN, home)
    if tables.key_file is not None and tables.key_file.exists():
        return make_key(read_key_file(tables.key_file), f"key_file {tables.key_file}", None, home)
    return None


def _workspace_key(entry: _WorkspaceKey, workspace: str, environ: Mapping[str, str]) -> ResolvedKey | str:
    if entry.variable is not None:
        value = environ.get(entry.variable)
        if not value:
            return f"{entry.label} api_key_env: {entry.variable} is not set."
        return make_key(value, entry.variable, KeyKind.API_KEY, workspace)
    assert entry.file is not None  # noqa: S101 - one of the two is set, by construction
    try:
        return make_key(read_key_file(entry.file), f"key_file {entry.file}", None, workspace)
    except FileNotFoundError:
        return f"{entry.label} key_file: {entry.file} does not exist."


def find_credentials(tables: CredentialTables, environ: Mapping[str, str], problems: list[str]) -> Credentials:
    """Find the default key and those of single workspaces.

    A key that is promised and absent is no error here: its workspace has a `MissingKey`, the others go on.
    A key that is there and unusable is one, added to `problems`.
    """
    default: ResolvedKey | None = None
    try:
        given = environ.get(WORKSPACE_ENV)
        home = parse_workspace_id(given, WORKSPACE_ENV) if given else None
        default = _default_key(tables, environ, home)
    except ConfigError as error:
        problems.append(str(error))
    found: dict[str, ResolvedKey] = {}
    missing: dict[str, str] = {}
    for workspace, entry in tables.workspaces.items():
        try:
            key = _workspace_key(entry, workspace, environ)
        except ConfigError as error:
            problems.append(str(error))
            continue
        if isinstance(key, str):
            missing[workspace] = key
        else:
            found[workspace] = key
    absent = [f"{path} does not exist." for path in (tables.env_file, tables.key_file) if path and not path.exists()]
    return Credentials(default, found, missing, " ".join(absent))
