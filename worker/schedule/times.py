"""When a profile is due: pure functions of the profile, what is noted of it, and the time.

Every time that the expression names on the wall clock comes once. In spring, a time that the clocks leap over comes
as much later as they leap: 02:30 at 03:30. In autumn, a time that comes twice counts the first time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.schedule.notes import Note
    from worker.schedule.profiles import Profile

__all__ = ["first_start", "is_owed", "next_moment", "next_start"]

_BEFORE_A_LEAP: Final = timedelta(hours=3)
"""Longer than any zone's clocks leap."""


def next_moment(profile: Profile, after: datetime) -> datetime:
    """The first moment (UTC) after `after` (aware) that the expression names."""
    zone, before = profile.time_zone, after.astimezone(UTC) - _BEFORE_A_LEAP
    local = after.astimezone(zone).replace(tzinfo=None, fold=0)
    # How far the clocks have leapt ahead just now: times before that leap may still be to come.
    leapt = local - before.astimezone(zone).replace(tzinfo=None, fold=0) - _BEFORE_A_LEAP
    wall = local - max(leapt, timedelta())
    while True:
        wall = profile.cron.next_after(wall)
        moment = wall.replace(tzinfo=zone).astimezone(UTC)
        if moment > after:
            return moment


def next_start(profile: Profile, after: datetime, *, host: str = "") -> datetime:
    """The first start (UTC) after `after` (aware): a moment, and up to `jitter` later.

    The same moment has the same jitter each time it is asked for on one host, so that a restart neither repeats
    nor loses a start, and `--list` tells what will be.
    """
    moment = after - timedelta(seconds=profile.jitter)
    while True:
        moment = next_moment(profile, moment)
        if (start := _start_of(profile, moment, host)) > after:
            return start


def _start_of(profile: Profile, moment: datetime, host: str) -> datetime:
    chance = Random(f"{host}/{profile.name}/{moment.isoformat()}")  # noqa: S311 - spreads load, hides nothing
    return moment + timedelta(seconds=round(chance.uniform(0, profile.jitter)))


def first_start(profile: Profile, note: Note | None, now: datetime, *, host: str = "") -> datetime:
    """The start with which a scheduler begins (UTC); one that lies before `now` is late, and owed or skipped.

    A profile that is new, or whose times were changed, owes nothing from before. A run that was begun and not
    ended, because the machine or the scheduler stopped, is owed: its command goes on from there. A moment that has had
    its start has no other one, on whatever host and with whatever jitter the scheduler begins anew.
    """
    if note is None or not note.fits(profile):
        return next_start(profile, now, host=host)
    if note.open:
        return note.through
    if note.settled:
        return _start_of(profile, next_moment(profile, note.through), host)
    return next_start(profile, note.through, host=host)


def is_owed(profile: Profile, first: datetime, now: datetime, *, host: str = "") -> bool:
    """Whether a scheduler that begins `now` with the start `first` runs the profile at once.

    Of several missed starts the last one counts; where they are skipped, it has to be within the grace time.
    """
    if first > now:
        return False
    earliest = now - timedelta(seconds=profile.grace)
    return profile.missed != "skip" or first >= earliest or next_start(profile, earliest, host=host) <= now
