"""How a file is to be read: its format, its encoding, and which column holds which field."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias, get_args

from worker.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.config import Input

__all__ = ["CREDENTIAL", "FIELDS", "IDENTITY", "USER", "WORKSPACE", "Format", "ReadOptions"]

Format: TypeAlias = Literal["csv", "jsonl"]

CREDENTIAL: Final = "acs_credential_id"
USER: Final = "acs_user_id"
IDENTITY: Final = "user_identity_id"
WORKSPACE: Final = "workspace_id"

FIELDS: Final = (CREDENTIAL, USER, IDENTITY, WORKSPACE)
"""The columns that mean something; all others are carried along."""

_JSONL_NAMES: Final = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class ReadOptions:
    """What a file does not say of itself.

    Raises:
        ConfigError: An unknown field, codec or format, or one column for two fields.
    """

    format: Format | None = None
    """None: by the file's name; standard input needs it."""
    encoding: str | None = None
    """A codec of Python's. None: UTF-8, with or without a byte order mark."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Field -> column, for fields whose column (or JSON key) has another name."""

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in get_args(Format):
            raise ConfigError(f"format: {self.format!r} is unknown; allowed are csv and jsonl.")
        self._check_encoding()
        self._check_mapping()

    @classmethod
    def of(cls, given: Input) -> Self:
        """As the settings say."""
        return cls(format=given.format, encoding=given.encoding, mapping=given.mapping)

    def column(self, name: str) -> str:
        """The column that holds a field."""
        return self.mapping.get(name, name).strip()

    def format_of(self, path: Path | None) -> Format:
        """The format of a file, by option or by name; names that say nothing are taken for CSV.

        Raises:
            InputError: Standard input (None) without the option.
        """
        if self.format is not None:
            return self.format
        if path is None:
            raise InputError("Standard input has no name to tell its format: give --format csv or jsonl.")
        name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
        return "jsonl" if name.endswith(_JSONL_NAMES) else "csv"

    def _check_encoding(self) -> None:
        if self.encoding is None:
            return
        try:
            codecs.getincrementaldecoder(self.encoding)
            b"a".decode(self.encoding)
        except UnicodeError:
            return  # one byte may be too few; the file will tell
        except (LookupError, ValueError):  # ValueError: a NUL in the name
            raise ConfigError(
                f"encoding: {self.encoding!r} is no text encoding; examples are utf-8, utf-16 and cp1252."
            ) from None

    def _check_mapping(self) -> None:
        fields_of: dict[str, str] = {}
        for name, column in self.mapping.items():
            if name not in FIELDS:
                raise ConfigError(f"map: {name!r} is no field; allowed are {', '.join(FIELDS)}.")
            if not column.strip():
                raise ConfigError(f"map: {name} needs a column, as in {name}=COLUMN.")
            other = fields_of.setdefault(column.strip(), name)
            if other != name:
                raise ConfigError(f"map: {other} and {name} cannot both be read from {column.strip()!r}.")
