"""Where settings stand, and how they are found: one table of options, derived from the models.

The leaf `max_attempts` of the section `sending` is the flag `--max-attempts`, the variable
`ASSIGN_WORKER_MAX_ATTEMPTS` and the key `max_attempts` under `[sending]`. Each place is a `Layer`;
pydantic-settings merges the layers, the first one wins.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo  # noqa: TC002 - names a parameter of an overridden method
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from worker.errors import ConfigError

__all__ = [
    "ENV_PREFIX",
    "Layer",
    "Leaf",
    "Option",
    "environment_layer",
    "explain",
    "flag_layer",
    "listed",
    "options_of",
    "python_layer",
    "read_toml",
    "suggest",
    "toml_layer",
]

ENV_PREFIX: Final = "ASSIGN_WORKER_"

_SHOWN_CHARACTERS = 60
_MAYBE_SECRET = re.compile(r"seam_|://.*[@?]|Bearer", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a field's annotation adds for the table of options."""

    allowed: str | None = None
    """The allowed values in words, where the type does not tell them."""
    name: str | None = None
    """The option's name, where it is not the field's."""
    is_path: bool = False
    """A relative path; in a file of settings it is relative to that file."""
    is_secret: bool = False
    """Its value may hold a password and is never shown."""
    seam_env: str | None = None
    """Seam's own variable for it, read after ours."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting, under all its names."""

    section: str
    field: str
    name: str
    allowed: str
    leaf: Leaf

    @property
    def flag(self) -> str:
        """As written on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def env(self) -> str:
        """As written in the environment."""
        return f"{ENV_PREFIX}{self.name.upper()}"


def _literals(annotation: object) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for part in get_args(annotation) for value in _literals(part)]


def _allowed(info: FieldInfo) -> str:
    literals = _literals(info.annotation)
    if literals:
        return ", ".join(literals)
    if info.annotation is bool:
        return "true or false"
    low = next((item for item in info.metadata if isinstance(item, Ge | Gt)), None)
    high = next((item for item in info.metadata if isinstance(item, Le)), None)
    if isinstance(low, Ge) and high is not None:
        return f"{low.ge} to {high.le}"
    if isinstance(low, Gt):
        return f"a number above {low.gt}"
    if isinstance(low, Ge):
        return f"a number from {low.ge}"
    return "text that is not empty"


@cache
def options_of(settings: type[BaseSettings]) -> Mapping[str, Option]:
    """The table of options by name, read from the sections of a settings class.

    Raises:
        TypeError: Two sections use one name.
    """
    table: dict[str, Option] = {}
    for section, section_info in settings.model_fields.items():
        model = section_info.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"{section} is not a section")
        for field, info in model.model_fields.items():
            if info.exclude:
                continue
            leaf = next((item for item in info.metadata if isinstance(item, Leaf)), Leaf())
            option = Option(section, field, leaf.name or field, leaf.allowed or _allowed(info), leaf)
            if option.name in table:
                raise TypeError(f"two sections use the name {option.name}")
            table[option.name] = option
    return table


class Layer(PydanticBaseSettingsSource):
    """One place where settings stand, with the words by which a user knows it."""

    def __init__(self, settings_cls: type[BaseSettings], entries: Mapping[str, tuple[object, str]]) -> None:
        """Take values and labels by option name; a value of None says nothing."""
        super().__init__(settings_cls)
        self.values: dict[str, dict[str, Any]] = {}
        self.labels: dict[tuple[str, str], str] = {}
        table = options_of(settings_cls)
        for name, (value, label) in entries.items():
            if value is None:
                continue
            option = table[name]
            # As pairs: mappings of two layers would be merged, and a key of a file could not be unset.
            plain = tuple(value.items()) if isinstance(value, Mapping) else value
            self.values.setdefault(option.section, {})[option.field] = plain
            self.labels[option.section, option.field] = label

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the base's signature
        """One section's values; the base class asks for this method."""
        return self.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All values, by section."""
        return {section: dict(values) for section, values in self.values.items()}


def suggest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """`; did you mean NAME?`, or nothing where no name is near; all of them have the prefix."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def listed(problems: Sequence[str]) -> str:
    """One message of one problem, or of several, each on its line."""
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join([f"{len(problems)} settings cannot be used:", *problems])


def flag_layer(settings: type[BaseSettings], flags: Mapping[str, object], problems: list[str]) -> Layer:
    """The command line's layer; names have underscores, as click gives them."""
    table = options_of(settings)
    entries = {}
    for name, value in flags.items():
        if name in table:
            entries[name] = (value, table[name].flag)
        else:
            flag = f"--{name.replace('_', '-')}"
            problems.append(f"{flag}: no such option{suggest(flag, (o.flag for o in table.values()))}")
    return Layer(settings, entries)


def python_layer(settings: type[BaseSettings], given: Mapping[str, object], problems: list[str]) -> Layer:
    """The layer of keyword arguments."""
    table = options_of(settings)
    problems += [f"{name}: no such option{suggest(name, table)}" for name in given if name not in table]
    return Layer(settings, {name: (value, name) for name, value in given.items() if name in table})


def environment_layer(
    settings: type[BaseSettings], environ: Mapping[str, str], problems: list[str], origin: str = ""
) -> Layer:
    """The environment's layer, or a `.env`'s; an empty variable counts as unset."""
    table = options_of(settings)
    entries = {}
    for option in table.values():
        for variable in (option.env, option.leaf.seam_env):
            if variable is not None and environ.get(variable):
                entries[option.name] = (environ[variable], f"{origin}{variable}")
                break
    known = {option.name.upper() for option in table.values()}
    for variable in sorted(environ):
        name = variable.removeprefix(ENV_PREFIX)
        if variable.startswith(ENV_PREFIX) and name not in known:
            near = suggest(name, known, prefix=ENV_PREFIX)  # the prefix by itself would make any two of them alike
            problems.append(f"{origin}{variable}: no such variable{near}")
    return Layer(settings, entries)


def read_toml(path: Path, *, flag: str = "--config ") -> dict[str, Any]:
    """Read a file of settings; `flag` stands before its name in messages.

    Raises:
        ConfigError: It cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors of Windows put a mark first
    except OSError as error:
        raise ConfigError(f"{flag}{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{flag}{path}: is not TOML: {error}") from None


def _anchored(value: object, option: Option, folder: Path) -> object:
    if option.leaf.is_path and isinstance(value, str) and value and "://" not in value:
        return str(folder / Path(value).expanduser())
    return value


def toml_layer(settings: type[BaseSettings], document: Mapping[str, Any], path: Path, problems: list[str]) -> Layer:
    """A file's layer. Sections that are not the settings' own must have been taken out before."""
    table = options_of(settings)
    sections = list(settings.model_fields)
    entries = {}
    for section, content in document.items():
        if section not in sections:
            if section in table:
                hint = f"; it belongs under [{table[section].section}]"
            else:
                hint = suggest(section, [*sections, "credentials", "workspaces"])
            problems.append(f"{path} [{section}]: no such section{hint}")
        elif not isinstance(content, Mapping):
            problems.append(f"{path} [{section}]: is a section; allowed: keys under [{section}]")
        else:
            for key, value in content.items():
                option = table.get(key)
                if option is not None and option.section == section:
                    label = f"{path} [{section}] {key}"
                    entries[key] = (_anchored(value, option, path.parent), label)
                    continue
                if option is not None:
                    hint = f"; it belongs under [{option.section}]"
                else:
                    hint = suggest(key, (name for name, o in table.items() if o.section == section))
                problems.append(f"{path} [{section}] {key}: no such key{hint}")
    return Layer(settings, entries)


def _as_written(value: object) -> str:
    """A repeated flag one by one, a table of a file as pairs: no tuple of Python's."""
    if isinstance(value, tuple):
        return ", ".join(ascii("=".join(map(str, item)) if isinstance(item, tuple) else item) for item in value)
    return ascii(value)


def _shown(value: object, leaf: Leaf) -> str:
    text = _as_written(value)
    if leaf.is_secret or _MAYBE_SECRET.search(text):
        return "the value"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def explain(error: ValidationError, settings: type[BaseSettings], layers: Sequence[Layer]) -> list[str]:
    """One sentence for each setting that did not pass: its key as the user wrote it, and what is allowed."""
    by_place = {(option.section, option.field): option for option in options_of(settings).values()}
    sentences: dict[tuple[str, str], str] = {}
    for item in error.errors(include_url=False, include_input=False):
        section, field = (str(part) for part in (*item["loc"], "", "")[:2])
        option = by_place.get((section, field))
        layer = next((layer for layer in layers if (section, field) in layer.labels), None)
        if option is None or layer is None:
            sentences.setdefault((section, field), f"{section} {field}: {item['msg']}".replace("  ", " "))
            continue
        cause = item.get("ctx", {}).get("error")
        reason = str(cause) if isinstance(cause, ValueError) else "is not allowed"
        shown = _shown(layer.values[section][field], option.leaf)
        sentence = f"{layer.labels[section, field]}: {shown} {reason}; allowed: {option.allowed}"
        sentences.setdefault((section, field), sentence)
    return list(sentences.values())
