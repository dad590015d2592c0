"""Cron expressions as crontab(5) means them.

APScheduler walks the calendar, but reads expressions in its own way: its 0 is Monday where cron's is Sunday, it
asks for day and weekday both where cron takes either, and what follows a name is ignored. So an expression is read
here, and APScheduler gets plain lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from apscheduler.triggers.cron import CronTrigger

__all__ = ["Cron"]

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SUNDAY_TOO: Final = 7
_ITEM: Final = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d{1,3}))?", re.ASCII)


@dataclass(frozen=True)
class _Field:
    word: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    """From `low` upwards."""

    def expand(self, text: str) -> frozenset[int] | None:
        """The values that the text names; None where that is all of them, by a `*`."""
        if text == "*":
            return None
        return frozenset(value for item in text.split(",") for value in self._item(item))

    def _item(self, item: str) -> range:
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ValueError(f"has {item!r} for the {self.word}, which cron does not know")
        first, last, step = match["first"], match["last"], match["step"]
        low = self.low if first is None else self._value(first)
        high = self._value(last) if last is not None else self.high if first is None or step else low
        if high < low:
            raise ValueError(f"has {item!r} for the {self.word}, which ends before it begins")
        if step is not None and int(step) == 0:
            raise ValueError(f"has a step of 0 for the {self.word}")
        return range(low, high + 1, int(step or 1))

    def _value(self, text: str) -> int:
        if text.lower() in self.names:
            return self.low + self.names.index(text.lower())
        if not text.isdigit() or not self.low <= int(text) <= self.high:
            raise ValueError(f"has {text!r} for the {self.word}, which goes from {self.low} to {self.high}")
        return int(text)


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, _SUNDAY_TOO, _WEEKDAYS),
)


@dataclass(frozen=True)
class Cron:
    """A cron expression, on a wall clock that belongs to no zone."""

    text: str
    trigger: Any = field(compare=False, repr=False)
    """APScheduler's, in UTC, which has no gaps: the clock on the wall is laid over it."""

    @classmethod
    def parse(cls, value: object) -> Cron:
        """Read `30 2 * * *`: minute, hour, day of the month, month, weekday (0 and 7 are Sunday).

        Raises:
            ValueError: with the rest of the sentence "VALUE …".
        """
        if isinstance(value, Cron):
            return value
        parts = value.split() if isinstance(value, str) else []
        if len(parts) != len(_FIELDS):
            raise ValueError("does not have five fields")
        minutes, hours, days, months, weekdays = (item.expand(part) for item, part in zip(_FIELDS, parts, strict=True))
        if days is not None and weekdays is not None:
            raise ValueError("names days of the month and weekdays, and cron would take either; make it two profiles")
        if days is not None and min(days) > max(_LONGEST[month - 1] for month in months or range(1, 13)):
            raise ValueError("names a day that its months do not have")
        trigger = CronTrigger(
            minute=_listed(minutes),
            hour=_listed(hours),
            day=_listed(days),
            month=_listed(months),
            day_of_week=_listed(None if weekdays is None else {_WEEKDAYS[day % _SUNDAY_TOO] for day in weekdays}),
            timezone=UTC,
        )
        return cls(" ".join(parts), trigger)

    def next_after(self, wall: datetime) -> datetime:
        """The first time on the wall clock (naive) after `wall` (naive)."""
        found: datetime = self.trigger.get_next_fire_time(None, wall.replace(tzinfo=UTC) + timedelta(microseconds=1))
        return found.replace(tzinfo=None)

    def __str__(self) -> str:
        return self.text


def _listed(values: frozenset[int] | set[str] | None) -> str:
    return "*" if values is None else ",".join(str(value) for value in sorted(values))
