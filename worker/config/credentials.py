"""Which key opens which workspace: Seam's own names, key files and the `.env`, told apart by prefix.

Nothing here prints more of a key than the prefix that tells its kind. Source of names and prefixes: Seam's
SDKs (`SEAM_API_KEY`, `SEAM_PERSONAL_ACCESS_TOKEN`, `SEAM_WORKSPACE_ID`).
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from uuid import UUID

from pydantic import SecretStr

from worker.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "Credentials",
    "KeyKind",
    "MissingKey",
    "ResolvedKey",
    "make_key",
    "parse_workspace_id",
    "read_key_file",
]

API_KEY_ENV: Final = "SEAM_API_KEY"
TOKEN_ENV: Final = "SEAM_PERSONAL_ACCESS_TOKEN"  # noqa: S105 - a variable's name
WORKSPACE_ENV: Final = "SEAM_WORKSPACE_ID"

_HOW_TO_SET = (
    f"Set {API_KEY_ENV}, or {TOKEN_ENV} with {WORKSPACE_ENV}, or name an env_file or a key_file under "
    "[credentials] in the --config file."
)
_KEY = re.compile(r"[\x21-\x7e]{1,1000}")
_KEY_FILE_LIMIT = 4096

_UNUSABLE = (
    ("seam_cst", "a client session token (seam_cst…)"),
    ("seam_pk", "a publishable key (seam_pk…)"),
    ("ey", "a JSON web token (ey…)"),
)


class KeyKind(StrEnum):
    """The two kinds of key that may assign credentials."""

    API_KEY = "api_key"
    """Opens one workspace, which it does not name."""
    PERSONAL_ACCESS_TOKEN = "personal_access_token"  # noqa: S105 - a kind, not a token
    """Opens every workspace of a person; each request names the one it means."""


@dataclass(frozen=True, slots=True)
class ResolvedKey:
    """A key, ready to send."""

    kind: KeyKind
    secret: SecretStr
    workspace_id: str | None
    """None where only the service knows which workspace an API key opens."""
    origin: str
    """Where the key stood, for messages: a variable or a file, never the key."""

    def headers(self) -> dict[str, str]:
        """The headers that each request carries. They hold the key: not to be logged."""
        headers = {"Authorization": f"Bearer {self.secret.get_secret_value()}"}
        if self.kind is KeyKind.PERSONAL_ACCESS_TOKEN and self.workspace_id is not None:
            headers["seam-workspace"] = self.workspace_id
        return headers


@dataclass(frozen=True, slots=True)
class MissingKey:
    """No key opens this workspace."""

    workspace_id: str | None
    reason: str
    """One or two sentences for the operator: what is missing, and where to put it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The keys of one load. Its repr shows none of them."""

    default: ResolvedKey | None = None
    """For rows that name no workspace, or none with a key of its own."""
    workspaces: Mapping[str, ResolvedKey] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    """Workspaces whose key was promised by the configuration and is not there, with the reason."""
    note: str = ""
    """What was looked for and not found, to explain an absent default."""

    @classmethod
    def of(
        cls,
        *,
        api_key: str | SecretStr | None = None,
        personal_access_token: str | SecretStr | None = None,
        workspace_id: str | None = None,
        workspace_keys: Mapping[str, str | SecretStr] | None = None,
    ) -> Credentials:
        """Make credentials from keys at hand, as a program does that fetched them from a secret store.

        Args:
            api_key: Opens one workspace; excludes `personal_access_token`.
            personal_access_token: Opens all workspaces of a person.
            workspace_id: The workspace of rows that name none (UUID).
            workspace_keys: API keys by workspace id.

        Raises:
            ConfigError: A key is of an unusable kind, or both kinds are given.
        """
        if api_key is not None and personal_access_token is not None:
            raise ConfigError("api_key and personal_access_token: give one of them, not both")
        home = None if workspace_id is None else parse_workspace_id(workspace_id, "workspace_id")
        default = None
        if api_key is not None:
            default = make_key(api_key, "api_key", KeyKind.API_KEY, home)
        elif personal_access_token is not None:
            default = make_key(personal_access_token, "personal_access_token", KeyKind.PERSONAL_ACCESS_TOKEN, home)
        keys = {}
        for given, key in (workspace_keys or {}).items():
            workspace = parse_workspace_id(given, "workspace_keys")
            keys[workspace] = make_key(key, f"workspace_keys[{workspace}]", KeyKind.API_KEY, workspace)
        return cls(default=default, workspaces=keys)

    @property
    def kind(self) -> KeyKind | None:
        """The kind of the default key."""
        return None if self.default is None else self.default.kind

    @property
    def default_workspace_id(self) -> str | None:
        """The workspace of rows that name none, where it is known before anything is sent."""
        return None if self.default is None else self.default.workspace_id

    def resolve(self, workspace_id: str | None) -> ResolvedKey | MissingKey:
        """Find the key for a row's workspace (canonical UUID), or for a row that names none.

        An API key whose workspace is unknown is given for any workspace that has no key of its own; the
        caller learns from the first reply whether it was the right one.
        """
        if workspace_id is not None and workspace_id in self.workspaces:
            return self.workspaces[workspace_id]
        if workspace_id is not None and workspace_id in self.missing:
            return MissingKey(workspace_id, self.missing[workspace_id])
        if self.default is None:
            if workspace_id is None:
                return MissingKey(None, f"No key for rows that name no workspace. {self._advice()}")
            return MissingKey(workspace_id, f"No key for workspace {workspace_id}. {_how_to_name(workspace_id)}")
        return _of_default(self.default, workspace_id)

    def require_any(self) -> None:
        """Make sure that there is a key at all.

        Raises:
            ConfigError: There is none; the message names the variables to set.
        """
        if self.default is None and not self.workspaces:
            reasons = " ".join(dict.fromkeys(self.missing.values()))
            raise ConfigError(" ".join(part for part in ("No Seam key.", reasons, self._advice()) if part))

    def secret_values(self) -> tuple[str, ...]:
        """Every key, in the clear, for whatever removes them from output."""
        keys = [*self.workspaces.values(), *([] if self.default is None else [self.default])]
        return tuple(dict.fromkeys(key.secret.get_secret_value() for key in keys))

    def _advice(self) -> str:
        return f"{self.note} {_HOW_TO_SET}".strip()


def _of_default(default: ResolvedKey, workspace_id: str | None) -> ResolvedKey | MissingKey:
    if workspace_id in {None, default.workspace_id}:
        if default.workspace_id is None and default.kind is KeyKind.PERSONAL_ACCESS_TOKEN:
            return MissingKey(
                None, f"A personal access token needs a workspace: set {WORKSPACE_ENV}, or fill workspace_id."
            )
        return default
    if default.kind is KeyKind.PERSONAL_ACCESS_TOKEN:
        return ResolvedKey(default.kind, default.secret, workspace_id, default.origin)
    if default.workspace_id is None:
        return default
    return MissingKey(
        workspace_id,
        f"The key from {default.origin} opens workspace {default.workspace_id}, not {workspace_id}. "
        + _how_to_name(workspace_id),
    )


def _how_to_name(workspace_id: str | None) -> str:
    return f'Name a key for it under [workspaces."{workspace_id}"] in the --config file.'


def parse_workspace_id(value: str, origin: str) -> str:
    """Check a workspace id and put it in canonical form."""
    text = value.strip()
    try:
        canonical = str(UUID(text))
    except ValueError:
        canonical = ""
    if text.lower() != canonical:
        raise ConfigError(f"{origin}: {text[:80]!r} is not a workspace id; allowed: a UUID")
    return canonical


def make_key(value: str | SecretStr, origin: str, kind: KeyKind | None, workspace_id: str | None) -> ResolvedKey:
    """Check a key by its prefix, before anything is sent with it.

    Args:
        value: The key; white space around it is dropped.
        origin: Where it stood, as messages name it.
        kind: What may stand there; None takes either and tells by the prefix.
        workspace_id: The workspace that it is for, where known.

    Raises:
        ConfigError: The key is of a kind that cannot be used here; the message shows its prefix at most.
    """
    text = (value.get_secret_value() if isinstance(value, SecretStr) else value).strip()
    for prefix, what in _UNUSABLE:
        if text.startswith(prefix):
            raise ConfigError(
                f"{origin} holds {what}, which cannot assign credentials; "
                "allowed: an API key (seam_…) or a personal access token (seam_at…)"
            )
    found = KeyKind.PERSONAL_ACCESS_TOKEN if text.startswith("seam_at") else KeyKind.API_KEY
    if not text.startswith("seam_") or not _KEY.fullmatch(text):
        expected = "seam_at…" if kind is KeyKind.PERSONAL_ACCESS_TOKEN else "seam_…"
        raise ConfigError(
            f"{origin} does not hold a Seam key; allowed: one line that begins with {expected}, without quotes or "
            "spaces"
        )
    if kind is KeyKind.API_KEY and found is not kind:
        raise ConfigError(
            f"{origin} holds a personal access token (seam_at…) where an API key belongs; "
            f"put it into {TOKEN_ENV}, with {WORKSPACE_ENV}"
        )
    if kind is KeyKind.PERSONAL_ACCESS_TOKEN and found is not kind:
        raise ConfigError(
            f"{origin} does not hold a personal access token (seam_at…); an API key belongs in {API_KEY_ENV}"
        )
    return ResolvedKey(found, SecretStr(text), workspace_id, origin)


def read_key_file(path: Path) -> str:
    """Read a file that holds one key and nothing else.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: Others may read it, or it holds more or less than one line.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"key_file {path} cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"key_file {path} is not a file")
        if status.st_mode & 0o077:
            raise ConfigError(f"key_file {path} is open to other users of this machine; run: chmod 600 {path}")
        content = os.read(descriptor, _KEY_FILE_LIMIT)
    finally:
        os.close(descriptor)
    lines = content.decode("utf-8", "replace").strip().splitlines()
    if len(lines) != 1:
        raise ConfigError(f"key_file {path} must hold the key alone, on one line")
    return lines[0]
