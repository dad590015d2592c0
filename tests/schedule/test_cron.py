"""Cron expressions mean what crontab(5) says."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from worker.schedule.cron import Cron

SUNDAY = datetime(2026, 11, 29)  # noqa: DTZ001 - the clock on the wall


def times(text: str, count: int, after: datetime = SUNDAY) -> list[datetime]:
    """The first times after a Sunday's midnight."""
    cron, found = Cron.parse(text), [after]
    for _ in range(count):
        found.append(cron.next_after(found[-1]))
    assert all(one < other for one, other in pairwise(found))
    return found[1:]


@pytest.mark.parametrize(
    ("text", "weekdays"),
    [
        ("0 6 * * 0", [6]),
        ("0 6 * * 7", [6]),
        ("0 6 * * 1", [0]),
        ("0 6 * * 1-5", [0, 1, 2, 3, 4]),
        ("0 6 * * 5-7", [4, 5, 6]),
        ("0 6 * * MON-fri", [0, 1, 2, 3, 4]),
        ("0 6 * * sun,3", [2, 6]),
        ("0 6 * * mon-fri/2", [0, 2, 4]),
        ("0 6 * * */3", [2, 5, 6]),
        ("0 6 * * *", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_weekdays_are_cron_s(text: str, weekdays: list[int]) -> None:
    """0 and 7 are Sunday, as in cron and not as in APScheduler; names and steps count (0 is Monday below)."""
    found = times(text, len(weekdays))
    assert sorted(moment.weekday() for moment in found) == weekdays
    assert found[-1] - SUNDAY <= timedelta(days=7, hours=6)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("30 2 * * *", ["11-29 02:30", "11-30 02:30"]),
        ("*/20 * * * *", ["11-29 00:20", "11-29 00:40", "11-29 01:00"]),
        ("5/25 3 * * *", ["11-29 03:05", "11-29 03:30", "11-29 03:55", "11-30 03:05"]),
        ("0 0 1,15 * *", ["12-01 00:00", "12-15 00:00"]),
        ("0 0 31 * *", ["12-31 00:00", "01-31 00:00", "03-31 00:00"]),
        ("0 0 29 feb *", ["02-29 00:00"]),
        ("0  12 24 Dec  *", ["12-24 12:00"]),
    ],
)
def test_the_other_fields(text: str, shown: list[str]) -> None:
    """Lists, ranges, steps and names; months without a 31st are passed over, leap days are found."""
    assert [f"{moment:%m-%d %H:%M}" for moment in times(text, len(shown))] == shown


@pytest.mark.parametrize(
    "text", ["7 3 * * *", "*/7 */5 * * *", "0 4 * * 2-4", "59 23 28-31 * *", "10-50/13 1,2 * 12 *"]
)
def test_no_time_is_left_out(text: str) -> None:
    """Against every minute of some weeks, matched field by field."""
    cron = Cron.parse(text)
    named = {
        moment for moment in (SUNDAY + timedelta(minutes=n) for n in range(1, 40 * 1440)) if _matches(text, moment)
    }
    found, moment = set(), SUNDAY
    while (moment := cron.next_after(moment)) < SUNDAY + timedelta(days=40):
        found.add(moment)
    assert found == named


def _matches(text: str, moment: datetime) -> bool:
    values = (moment.minute, moment.hour, moment.day, moment.month, moment.isoweekday() % 7)
    lows = (0, 0, 1, 1, 0)
    return all(
        any(_holds(item, value, low) for item in part.split(","))
        for part, value, low in zip(text.split(), values, lows, strict=True)
    )


def _holds(item: str, value: int, low: int) -> bool:
    span, _, step = item.partition("/")
    first, _, last = span.partition("-")
    begin = low if first == "*" else int(first)
    end = 99 if first == "*" else int(last or first)
    return begin <= value <= end and (value - begin) % int(step or 1) == 0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("30 2 * *", "does not have five fields"),
        ("0 30 2 * * *", "does not have five fields"),
        ("@daily", "does not have five fields"),
        (30, "does not have five fields"),
        ("61 2 * * *", "has '61' for the minute, which goes from 0 to 59"),
        ("0 24 * * *", "has '24' for the hour, which goes from 0 to 23"),
        ("0 0 0 * *", "has '0' for the day, which goes from 1 to 31"),
        ("0 0 * 13 *", "has '13' for the month, which goes from 1 to 12"),
        ("0 0 * * 8", "has '8' for the weekday, which goes from 0 to 7"),
        ("0 0 * * monday", "has 'monday' for the weekday"),
        ("0 0 last * *", "has 'last' for the day"),
        ("0 5-3 * * *", "has '5-3' for the hour, which ends before it begins"),
        ("*/0 * * * *", "has a step of 0 for the minute"),
        ("0,,5 * * * *", "has '' for the minute, which cron does not know"),
        ("0 0 ? * *", "has '?' for the day, which cron does not know"),
        ("٣ 0 * * *", "which cron does not know"),
        ("0 0 30 2 *", "names a day that its months do not have"),
        ("0 0 31 4,6,9,11 *", "names a day that its months do not have"),
        ("0 0 1 * mon", "names days of the month and weekdays"),
    ],
)
def test_what_is_no_expression(value: object, reason: str) -> None:
    """Each is refused with its reason, APScheduler's own extensions too."""
    with pytest.raises(ValueError, match=reason.replace("?", r"\?").replace("*", r"\*")):
        Cron.parse(value)
