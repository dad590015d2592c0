"""When a profile is due, across nights in which the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from apscheduler.triggers.cron import CronTrigger

from tests.schedule.making import at, profile
from worker.schedule import Note, first_start, is_owed, next_start
from worker.schedule.times import next_moment

if TYPE_CHECKING:
    from worker.schedule import Profile

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def between(chosen: Profile, begin: datetime, end: datetime) -> list[datetime]:
    """Every moment of a span, each found from the one before."""
    found, moment = [], begin
    while (moment := next_moment(chosen, moment)) < end:
        found.append(moment)
    assert all(one < other for one, other in pairwise(found))
    return found


def clocks(moments: list[datetime], zone: str) -> list[str]:
    """As the clock on the wall shows them."""
    return [f"{moment.astimezone(profile('* * * * *', zone).time_zone):%m-%d %H:%M %Z}" for moment in moments]


@pytest.mark.parametrize(
    ("zone", "cron", "day", "shown"),
    [
        # The clocks leap from 02:00 to 03:00: an hour later, once.
        (BERLIN, "30 2 * * *", "2026-03-28", ["03-28 02:30 CET", "03-29 03:30 CEST", "03-30 02:30 CEST"]),
        (NEW_YORK, "30 2 * * *", "2026-03-07", ["03-07 02:30 EST", "03-08 03:30 EDT", "03-09 02:30 EDT"]),
        # 02:30 comes twice: the first of the two, once.
        (BERLIN, "30 2 * * *", "2026-10-24", ["10-24 02:30 CEST", "10-25 02:30 CEST", "10-26 02:30 CET"]),
        (NEW_YORK, "30 1 * * *", "2026-10-31", ["10-31 01:30 EDT", "11-01 01:30 EDT", "11-02 01:30 EST"]),
        # Times beside the change are what they are.
        (BERLIN, "30 1 * * *", "2026-03-28", ["03-28 01:30 CET", "03-29 01:30 CET", "03-30 01:30 CEST"]),
        (BERLIN, "0 3 * * *", "2026-03-28", ["03-28 03:00 CET", "03-29 03:00 CEST", "03-30 03:00 CEST"]),
        (BERLIN, "0 3 * * *", "2026-10-24", ["10-24 03:00 CEST", "10-25 03:00 CET", "10-26 03:00 CET"]),
        # Where the clocks leap at midnight, a profile of that hour still has its night.
        ("America/Santiago", "30 0 * * *", "2026-09-05", ["09-05 00:30 -04", "09-06 01:30 -03", "09-07 00:30 -03"]),
        # A leap by half an hour.
        (
            "Australia/Lord_Howe",
            "15 2 * * *",
            "2026-10-03",
            ["10-03 02:15 +1030", "10-04 02:45 +11", "10-05 02:15 +11"],
        ),
    ],
)
def test_each_night_has_its_run(zone: str, cron: str, day: str, shown: list[str]) -> None:
    """Once in each of three nights, the middle one with the change."""
    third = f"{datetime.fromisoformat(day) + timedelta(days=3):%Y-%m-%d}"
    assert clocks(between(profile(cron, zone), at(day, zone), at(third, zone)), zone) == shown


def test_apscheduler_alone_would_run_twice_or_not_at_all() -> None:
    """Why the clock on the wall is laid over its calendar; should this fail one day, it could go."""
    trigger = CronTrigger.from_crontab("30 2 * * *", BERLIN)
    first = trigger.get_next_fire_time(None, at("2026-10-25", BERLIN))
    second = trigger.get_next_fire_time(first, first)
    assert clocks([first, second], BERLIN) == ["10-25 02:30 CEST", "10-25 02:30 CET"]
    trigger = CronTrigger.from_crontab("30 0 * * *", "America/Santiago")
    found = trigger.get_next_fire_time(None, at("2026-09-05T12:00", "America/Santiago"))
    assert clocks([found], "America/Santiago") == ["09-07 00:30 -03"]


@pytest.mark.parametrize(
    "zone",
    [
        *(BERLIN, NEW_YORK, "UTC", "Asia/Kolkata", "Pacific/Chatham", "America/Santiago", "America/Havana"),
        *("Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Australia/Lord_Howe", "Antarctica/Troll"),
    ],
)
def test_every_day_of_a_year_has_one_run(zone: str) -> None:
    """Whatever the hour, and whenever, by how much and how often the clocks of a zone change."""
    for minutes in range(0, 300, 30):
        chosen = profile(f"{minutes % 60} {minutes // 60} * * *", zone)
        found = between(chosen, at("2025-12-31T12:00", zone), at("2026-12-31T12:00", zone))
        assert len({moment.astimezone(chosen.time_zone).date() for moment in found}) == len(found) == 365


@pytest.mark.parametrize(("zone", "day"), [(BERLIN, "2026-03-29"), (NEW_YORK, "2026-03-08")])
def test_times_that_coincide_after_a_leap_are_one(zone: str, day: str) -> None:
    """02:30 comes at 03:30 in that night, and 03:30 is there already."""
    begin = at(day, zone)
    found = between(profile("30 1,2,3,4 * * *", zone), begin, begin + timedelta(hours=8))
    assert [moment.astimezone(profile("* * * * *", zone).time_zone).hour for moment in found] == [1, 3, 4]


@pytest.mark.parametrize(
    ("day", "count", "longest"),
    [("2026-03-29", 23 * 4, 15), ("2026-10-25", 24 * 4, 75), ("2026-06-01", 24 * 4, 15)],
)
def test_every_quarter_of_an_hour(day: str, count: int, longest: int) -> None:
    """Nothing is doubled; in autumn the hour that comes twice counts once, so there is one pause of 75 minutes."""
    begin, end = at(day, BERLIN), at(day, BERLIN) + timedelta(days=2)
    found = between(profile("*/15 * * * *", BERLIN), begin - timedelta(minutes=15), end)
    assert max(other - one for one, other in pairwise(found)) == timedelta(minutes=longest)
    local = [
        moment for moment in found if f"{moment.astimezone(profile('* * * * *', BERLIN).time_zone):%Y-%m-%d}" == day
    ]
    assert len(local) == count


@pytest.mark.parametrize(
    ("now", "shown"),
    [
        (at("2026-03-29T01:59", BERLIN), "03-29 03:30 CEST"),
        (at("2026-03-29T03:10", BERLIN), "03-29 03:30 CEST"),
        (at("2026-03-29T03:30", BERLIN), "03-30 02:30 CEST"),
        (at("2026-10-25T02:29", BERLIN), "10-25 02:30 CEST"),
        (at("2026-10-25T02:30", BERLIN), "10-26 02:30 CET"),
        (at("2026-10-25T02:10", BERLIN, fold=1), "10-26 02:30 CET"),
    ],
)
def test_a_scheduler_that_starts_within_the_change(now: datetime, shown: str) -> None:
    """What has not come yet comes; what has does not come again."""
    assert clocks([next_moment(profile("30 2 * * *", BERLIN), now)], BERLIN) == [shown]


def test_jitter_is_at_most_what_was_said_and_stays_what_it_was() -> None:
    """Between the moment and so much later, the same at each look, spread over hosts, nothing lost or doubled."""
    chosen = profile("30 2 * * *", BERLIN, jitter=300.0)
    starts = [next_start(chosen, at("2026-03-01", BERLIN), host="one")]
    for _ in range(60):
        # Asked from the start itself, and from shortly before it: the same.
        assert next_start(chosen, starts[-1] - timedelta(seconds=1), host="one") == starts[-1]
        starts.append(next_start(chosen, starts[-1], host="one"))
    moments = between(chosen, at("2026-03-01", BERLIN), starts[-1] + timedelta(seconds=1))
    late = [(start - moment).total_seconds() for start, moment in zip(starts, moments, strict=True)]
    assert all(0 <= seconds <= 300 for seconds in late)
    assert len(set(late)) > 30
    hosts = {next_start(chosen, at("2026-03-01", BERLIN), host=f"host {number}") for number in range(20)}
    assert len(hosts) > 10


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("note", "first"),
    [
        (None, "2026-11-25T02:30"),
        (Note("30 2 * * *", "UTC", at("2026-11-24T02:30")), "2026-11-25T02:30"),
        (Note("30 2 * * *", "UTC", at("2026-11-20T02:30")), "2026-11-21T02:30"),
        (Note("30 2 * * *", "UTC", at("2026-11-24T02:30"), open=True), "2026-11-24T02:30"),
        (Note("30 1 * * *", "UTC", at("2026-11-20T01:30")), "2026-11-25T02:30"),
        (Note("30 2 * * *", BERLIN, at("2026-11-20T01:30"), open=True), "2026-11-25T02:30"),
    ],
    ids=["new", "settled", "missed", "cut off", "other time", "other zone"],
)
def test_with_what_a_scheduler_begins(note: Note | None, first: str) -> None:
    """A missed or interrupted run lies in the past; new and changed profiles owe nothing."""
    assert first_start(profile("30 2 * * *"), note, NOW) == at(first)


@pytest.mark.parametrize("jitter", [600.0, 1800.0])
def test_a_night_that_was_run_is_not_owed_again(jitter: float) -> None:
    """Neither on a host of another name, as every new container has one, nor with another jitter."""
    before, nightly = profile("30 2 * * *", jitter=1200.0), profile("30 2 * * *", jitter=jitter)
    for number in range(50):
        ran = next_start(before, at("2026-11-24T00:00"), host="old")
        note = Note("30 2 * * *", "UTC", ran, settled=True)
        first = first_start(nightly, note, NOW, host=f"new-{number}")
        assert at("2026-11-25T02:30") <= first <= at("2026-11-25T03:00")


def test_a_new_profile_keeps_its_first_start() -> None:
    """It was begun after the moment and before its start: a restart in between loses nothing."""
    nightly = profile("30 2 * * *", jitter=1800.0)
    start = next_start(nightly, at("2026-11-24T00:00"), host="h")
    begun = at("2026-11-24T02:30") + (start - at("2026-11-24T02:30")) / 2
    assert first_start(nightly, Note("30 2 * * *", "UTC", begun), begun, host="h") == start


@pytest.mark.parametrize(
    ("cron", "more", "first", "owed"),
    [
        ("30 2 * * *", {}, "2026-11-20T02:30", True),
        ("30 2 * * *", {}, "2026-11-25T02:30", False),
        ("30 2 * * *", {"missed": "skip", "grace": 3600.0}, "2026-11-24T02:30", False),
        ("30 11 * * *", {"missed": "skip", "grace": 3600.0}, "2026-11-24T11:30", True),
        ("30 11 * * *", {"missed": "skip", "grace": 1200.0}, "2026-11-24T11:30", False),
        # Missed since days, the last time not long ago.
        ("30 11 * * *", {"missed": "skip", "grace": 3600.0}, "2026-11-20T11:30", True),
    ],
)
def test_what_is_run_at_once(cron: str, more: dict[str, Any], first: str, *, owed: bool) -> None:
    """Noon has come: what was missed is owed, or too late."""
    assert is_owed(profile(cron, **more), at(first), NOW) is owed
