"""What has been run: a small JSON file, so that a night missed while nothing ran is known afterwards.

A file, not APScheduler's job store in SQLAlchemy: a store keeps pickled functions, which a new version may not be able
to read and which run code when they are read; and a job of two fields needs no database. It can be read, mended and
deleted by hand.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from worker.errors import ConfigError, ResultsWriteError, UsageError
from worker.logs import get_logger
from worker.results.replacing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from worker.schedule.profiles import Profile

__all__ = ["Note", "Notes"]

_VERSION: Final = 1
_CLOCK_SET_BACK: Final = timedelta(days=1)
"""A clock may be put back by less, and no start is made twice; by more, no profile waits until that time comes."""


@dataclass(frozen=True)
class Note:
    """What is known of one profile."""

    cron: str
    time_zone: str
    through: datetime
    """Every start until then is settled: run, missed, or not owed."""
    open: bool = False
    """The run of `through` was begun, and no end of it was seen."""
    settled: bool = False
    """Whether `through` is a start, and not only the time at which the profile was new."""

    def fits(self, profile: Profile) -> bool:
        """Whether the profile's times are still those that were noted."""
        return (self.cron, self.time_zone) == (str(profile.cron), str(profile.time_zone))


class Notes:
    """The file of notes, written whole and synced (0600) at each change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._notes: dict[str, Note] = {}

    def load(self) -> None:
        """Read the file, where there is one.

        Raises:
            ConfigError: it is damaged, or of a later version.
        """
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            if document["version"] != _VERSION:
                raise ValueError("is of another version")  # noqa: TRY301 - told as one with whatever else is wrong
            self._notes = {name: _note(**fields) for name, fields in document["profiles"].items()}
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ConfigError(
                f"{self.path}, which holds what was run last, cannot be understood; move it away, and the schedule "
                "begins anew: no run that was missed before is made up for"
            ) from None

    def get(self, profile: Profile) -> Note | None:
        """What is noted of a profile."""
        return self._notes.get(profile.name)

    def begin(self, profiles: Iterable[Profile], now: datetime) -> None:
        """Note that profiles which are new, or have new times, owe nothing from before `now`; forget those gone.

        Raises:
            ConfigError: the file cannot be written, so that no missed run would ever be known.
        """
        former = self._notes
        self._notes = {}
        for profile in profiles:
            note = former.get(profile.name)
            if note is None or not note.fits(profile):
                note = Note(str(profile.cron), str(profile.time_zone), now)
            elif note.through > now + _CLOCK_SET_BACK:
                get_logger().warning(
                    "the last start is noted for a time to come, as by a clock that was wrong; it is forgotten",
                    profile=profile.name,
                    noted=note.through.isoformat(),
                )
                note = replace(note, through=now, settled=False)
            self._notes[profile.name] = note
        try:
            self._write()
        except (ResultsWriteError, UsageError) as error:
            raise ConfigError(
                f"{self.path}, where what was run is noted, cannot be written: {_reason(error)}; name another place "
                "by state under [schedule]"
            ) from None

    def settle(self, name: str, *, through: datetime | None = None, is_open: bool | None = None) -> None:
        """Note what became of a start; None leaves that as it is. A failed write is told and ends nothing."""
        note = self._notes[name]
        self._notes[name] = replace(
            note,
            through=note.through if through is None else through,
            settled=note.settled or through is not None,
            open=note.open if is_open is None else is_open,
        )
        try:
            self._write()
        except (ResultsWriteError, UsageError) as error:
            get_logger().error(
                "not noted: after a restart this run may begin again", file=str(self.path), reason=_reason(error)
            )

    def _write(self) -> None:
        profiles = {
            name: {**asdict(note), "through": note.through.isoformat()} for name, note in sorted(self._notes.items())
        }
        with replacing(self.path) as file:
            json.dump({"version": _VERSION, "profiles": profiles}, file, indent=2)
            file.write("\n")


def _note(*, through: str, **fields: object) -> Note:
    moment = datetime.fromisoformat(through)
    settled = fields.pop("settled", False)  # notes of before have none
    if moment.tzinfo is None or set(fields) != {"cron", "time_zone", "open"}:
        raise ValueError("is no note")
    return Note(
        cron=str(fields["cron"]),
        time_zone=str(fields["time_zone"]),
        through=moment.astimezone(UTC),
        open=fields["open"] is True,
        settled=settled is True,
    )


def _reason(error: Exception) -> str:
    cause = error.__cause__
    return (cause.strerror if isinstance(cause, OSError) else None) or str(error)
