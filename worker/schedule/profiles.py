"""The file of a schedule: profiles, each with its times and its command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, StringConstraints, ValidationError

from worker.config.layered import LayeredSettings, reading
from worker.config.sources import Layer, Leaf, explain, listed, options_of, read_toml, suggest
from worker.config.values import parse_seconds
from worker.errors import ConfigError
from worker.schedule.cron import Cron

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Profile", "Schedule", "load_schedule"]


def _zone(value: object) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(value if isinstance(value, str) else "")
    except (LookupError, ValueError, OSError):  # unknown, no possible name, the name of a folder
        near = suggest(str(value), available_timezones())
        raise ValueError(f"is no time zone that this machine knows{near}") from None


_Seconds = Annotated[float, BeforeValidator(parse_seconds)]
_SPAN: Final = "0 to 6 hours, such as 5m, 1h30m or 90s"


class Profile(BaseModel):
    """What is run, and when."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(exclude=True)
    cron: Annotated[
        InstanceOf[Cron],
        BeforeValidator(Cron.parse),
        Leaf("minute hour day month weekday, such as 30 2 * * * or 0 6 * * mon-fri"),
    ]
    time_zone: Annotated[InstanceOf[ZoneInfo], BeforeValidator(_zone), Leaf("a name such as Europe/Berlin, or UTC")]
    """In which the expression is meant."""
    command: Annotated[
        tuple[Annotated[str, StringConstraints(strict=True, pattern=r"^[^\x00]*$")], ...],
        # An address among them may hold a password, so they are not repeated.
        Leaf('the words after assign-worker, such as ["run", "residents.csv"]', is_secret=True),
    ] = Field(min_length=1)
    """As on the command line; its paths are relative to the file of the schedule."""
    jitter: Annotated[_Seconds, Leaf(_SPAN)] = Field(default=0.0, ge=0, le=21_600)
    """Start up to so many seconds later, by chance, so that many machines do not ask at the same second."""
    missed: Literal["run_once", "skip"] = "run_once"
    """What becomes of starts that passed while nothing could run: one is made up for, or none."""
    grace: Annotated[_Seconds, Leaf("1 second to 7 days, such as 10m or 2h")] = Field(default=600.0, ge=1, le=604_800)
    """With `skip`: seconds by which a start may be late and still happens."""


@dataclass(frozen=True)
class Schedule:
    """A file of profiles."""

    path: Path
    profiles: tuple[Profile, ...]
    state: Path
    """Where it is noted what was run."""

    @property
    def folder(self) -> Path:
        """Where commands run: the file's own."""
        return self.path.absolute().parent


class _Form(LayeredSettings):
    """One profile as a section of settings, so that its problems are told like theirs."""

    profile: Profile


_SHARED: Final = ("time_zone", "jitter", "missed", "grace")
_NEEDED: Final = ("cron", "time_zone", "command")


def load_schedule(path: Path, judge: Callable[[Sequence[str]], str | None] = lambda _: None) -> Schedule:
    """Read a schedule; what stands under `[schedule]` holds for every profile that does not say otherwise.

    Args:
        path: the TOML file.
        judge: what is wrong with a command, as the rest of the sentence "KEY: …"; None where nothing is.

    Raises:
        ConfigError: the file or something in it cannot be used; all of it is named, each with its key.
    """
    document = read_toml(path, flag="")
    problems: list[str] = []
    shared = _section(document.pop("schedule", {}), f"{path} [schedule]", (*_SHARED, "state"), problems)
    tables = document.pop("profiles", {})
    problems += [
        f"{path} [{name}]: no such section{suggest(name, ('schedule', 'profiles'))}; allowed: [schedule] and "
        "[profiles.NAME]"
        for name in document
    ]
    state = shared.pop("state", f"{path.stem}.state.json")
    if not isinstance(state, str) or not state:
        problems.append(f"{path} [schedule] state: is no path")
        state = ""
    if not isinstance(tables, Mapping) or not tables:
        problems.append(f"{path}: has no profile; write one under [profiles.NAME], with {', '.join(_NEEDED)}")
        tables = {}
    profiles = [_profile(path, name, table, shared, judge, problems) for name, table in tables.items()]
    if problems:
        raise ConfigError(listed(problems))
    return Schedule(path, tuple(filter(None, profiles)), path.parent / Path(state).expanduser())


def _section(table: object, label: str, known: Sequence[str], problems: list[str]) -> dict[str, Any]:
    """The keys of a section that are known."""
    if not isinstance(table, Mapping):
        problems.append(f"{label}: is a section; allowed: keys under {label.rpartition(' ')[2]}")
        return {}
    problems += [f"{label} {key}: no such key{suggest(key, known)}" for key in table if key not in known]
    return {key: value for key, value in table.items() if key in known}


def _profile(  # noqa: PLR0913, PLR0917 - what a profile is read from, and what is wrong with it
    path: Path,
    name: str,
    table: object,
    shared: Mapping[str, Any],
    judge: Callable[[Sequence[str]], str | None],
    problems: list[str],
) -> Profile | None:
    label = f"{path} [profiles.{name}]"
    so_far = len(problems)
    options = options_of(_Form)
    own = _section(table, label, tuple(options), problems)
    layers = (
        Layer(_Form, {key: (value, f"{label} {key}") for key, value in own.items()}),
        Layer(_Form, {key: (value, f"{path} [schedule] {key}") for key, value in shared.items()}),
    )
    values = {**shared, **own}
    problems += [f"{label}: {key} is missing; allowed: {options[key].allowed}" for key in _NEEDED if key not in values]
    profile = None
    try:
        with reading(layers):
            profile = _Form(profile={"name": name}).profile
    except ValidationError as error:
        problems += [
            line
            for line in explain(error, _Form, layers)
            if line not in problems and not line.endswith("Field required")  # told above, with what is allowed
        ]
    words = own.get("command")
    if isinstance(words, list) and words and all(isinstance(word, str) for word in words):
        wrong = judge(words)
        problems += [f"{label} command: {wrong}"] if wrong is not None else []
    return profile if len(problems) == so_far else None
