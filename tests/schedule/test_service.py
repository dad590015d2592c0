"""The scheduler with APScheduler in it, on a clock that jumps: nights in which the clocks change pass in a moment."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
import structlog

from tests.schedule.making import at, profile
from tests.virtual_time import run_virtually
from worker.schedule import Notes, serve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from structlog.typing import EventDict

    from worker.schedule import Profile

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
HOUR = 3600.0


@dataclass
class Nights:
    """What a scheduler did."""

    starts: dict[str, list[datetime]] = field(default_factory=dict)
    most_at_once: int = 0
    log: list[EventDict] = field(default_factory=list)

    def clock(self, zone: str, name: str = "night") -> list[str]:
        """The starts of a profile, as the clock on the wall shows them."""
        return [f"{start.astimezone(ZoneInfo(zone)):%m-%d %H:%M}" for start in self.starts.get(name, [])]

    def said(self, event: str) -> list[EventDict]:
        """The lines of the log that say this."""
        return [line for line in self.log if line["event"] == event]


@dataclass
class World:
    """Lets schedulers live from one moment to another, over the notes of one file."""

    path: Path
    monkeypatch: pytest.MonkeyPatch
    takes: float = 600.0
    """Seconds that a run takes."""
    code: int = 0
    fails: OSError | None = None
    """Why no run can be started."""
    ends: bool = False
    """The end comes with the first run."""
    asleep: tuple[datetime, timedelta] | None = None
    """The machine sleeps then, so long: the clock on the wall goes on, timers do not."""
    look_again: float = HOUR * 5

    def live(self, profiles: Sequence[Profile], begin: datetime, end: datetime) -> Nights:
        """One scheduler."""
        nights = Nights()
        with structlog.testing.capture_logs() as log:
            run_virtually(self._live(profiles, begin, end, nights))
        nights.log = log
        return nights

    async def _live(self, profiles: Sequence[Profile], begin: datetime, end: datetime, nights: Nights) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        origin, running = loop.time(), dict.fromkeys((profile.name for profile in profiles), 0)

        def now() -> datetime:
            moment = begin + timedelta(seconds=loop.time() - origin)
            if self.asleep is not None and moment >= self.asleep[0]:
                moment += self.asleep[1]
            return moment

        class Clock(datetime):
            """APScheduler's."""

            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # as APScheduler calls it
                assert tz is UTC
                return now()

        self.monkeypatch.setattr("apscheduler.schedulers.base.datetime", Clock)
        self.monkeypatch.setattr("apscheduler.executors.base.datetime", Clock)

        async def run(chosen: Profile) -> int:
            if self.fails is not None:
                raise self.fails
            nights.starts.setdefault(chosen.name, []).append(now())
            if self.ends:
                stop.set()
            running[chosen.name] += 1
            nights.most_at_once = max(nights.most_at_once, running[chosen.name])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.takes)
            running[chosen.name] -= 1
            return 143 if stop.is_set() else self.code

        notes = Notes(self.path)
        notes.load()
        served = asyncio.create_task(serve(profiles, notes, run, stop, now=now, look_again=self.look_again))
        while now() < end and not served.done():
            await asyncio.wait({served}, timeout=min(HOUR, (end - now()).total_seconds()))
        stop.set()
        await served


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world of its own for each test."""
    return World(tmp_path / "state.json", monkeypatch)


@pytest.mark.parametrize(
    ("zone", "begin", "end", "starts"),
    [
        (BERLIN, "2026-03-27T12:00", "2026-03-31T12:00", ["03-28 02:30", "03-29 03:30", "03-30 02:30", "03-31 02:30"]),
        (BERLIN, "2026-10-23T12:00", "2026-10-27T12:00", ["10-24 02:30", "10-25 02:30", "10-26 02:30", "10-27 02:30"]),
        (NEW_YORK, "2026-03-07T12:00", "2026-03-09T12:00", ["03-08 03:30", "03-09 02:30"]),
        (NEW_YORK, "2026-10-31T12:00", "2026-11-02T12:00", ["11-01 02:30", "11-02 02:30"]),
    ],
)
def test_every_night_once_across_a_change_of_the_clocks(
    world: World, zone: str, begin: str, end: str, starts: list[str]
) -> None:
    """On time, once, and told: each start with when it was due, each end with the next."""
    nights = world.live([profile("30 2 * * *", zone)], at(begin, zone), at(end, zone))
    assert nights.clock(zone) == starts
    assert all(start.second == 0 for start in nights.starts["night"])
    ended = nights.said("run ended")
    assert [line["exit_code"] for line in ended] == [0] * len(starts)
    # All but the last: that one's next night is not lived.
    upcoming = [f"{datetime.fromisoformat(line['next']):%m-%d %H:%M}" for line in ended]
    assert upcoming[:-1] == starts[1:]
    assert [line["seconds"] for line in ended] == [pytest.approx(600, abs=1)] * len(starts)
    assert "late" not in nights.said("run starts")[0]


def test_the_repeated_hour_overlaps_nothing(world: World) -> None:
    """Runs of 70 minutes, due each half hour over the change: never two at once, and what was passed over is told."""
    world.takes = 70 * 60.0
    nights = world.live(
        [profile("*/30 * * * *", BERLIN)], at("2026-10-25T01:45", BERLIN), at("2026-10-25T06:10", BERLIN)
    )
    assert nights.most_at_once == 1
    assert nights.clock(BERLIN) == ["10-25 02:00", "10-25 03:00", "10-25 04:30", "10-25 06:00"]
    assert len(nights.said("still running: not started again")) == 5


def test_what_was_passed_over_is_not_owed(world: World) -> None:
    """Due while the run before went on, and so not once more by the next scheduler."""
    world.takes, night = 40 * 60.0, profile("0,30 2 * * *")
    assert world.live([night], at("2026-11-24T00:00"), at("2026-11-24T03:00")).clock("UTC") == ["11-24 02:00"]
    assert world.live([night], at("2026-11-24T04:00"), at("2026-11-24T05:00")).starts == {}


def test_no_run_begins_after_the_end(world: World) -> None:
    """Two are due at once, and the first one sees the end come: the second one is owed."""
    world.ends = True
    two = [profile("0 2 * * *", name="north"), profile("0 2 * * *", name="south")]
    nights = world.live(two, at("2026-11-24T01:00"), at("2026-11-24T05:00"))
    assert list(nights.starts) == ["north"]
    world.ends = False
    nights = world.live(two, at("2026-11-24T06:00"), at("2026-11-24T07:00"))
    assert nights.clock("UTC", "south") == ["11-24 06:00"]


def test_profiles_run_beside_each_other(world: World) -> None:
    """A long run of one keeps no other from starting."""
    world.takes = 2 * HOUR
    two = [profile("0 2 * * *", name="north"), profile("30 2 * * *", name="south")]
    nights = world.live(two, at("2026-11-24T00:00"), at("2026-11-24T12:00"))
    assert (nights.clock("UTC", "north"), nights.clock("UTC", "south")) == (["11-24 02:00"], ["11-24 02:30"])


def test_missed_nights_are_made_up_for_once(world: World) -> None:
    """Three nights without a scheduler: one run at once, told as late, then the next night as ever."""
    night = profile("30 2 * * *")
    world.live([night], at("2026-11-20T00:00"), at("2026-11-20T12:00"))
    nights = world.live([night], at("2026-11-23T12:00"), at("2026-11-24T12:00"))
    assert nights.clock("UTC") == ["11-23 12:00", "11-24 02:30"]
    (first, _) = nights.said("run starts")
    assert (first["due"], first["late"]) == ("2026-11-23T02:30:00+00:00", "9:30:00")
    assert nights.said("scheduled")[0]["missed"] is True
    # And not once more by the next scheduler.
    assert world.live([night], at("2026-11-24T13:00"), at("2026-11-24T20:00")).starts == {}


@pytest.mark.parametrize(("begin", "starts"), [("02:35", ["11-23 02:35"]), ("02:45", [])])
def test_missed_nights_are_skipped_if_so_configured(world: World, begin: str, starts: list[str]) -> None:
    """Beyond the grace time; what was skipped is told, and is not owed later."""
    night = profile("30 2 * * *", missed="skip", grace=600.0)
    world.live([night], at("2026-11-20T00:00"), at("2026-11-20T12:00"))
    nights = world.live([night], at(f"2026-11-23T{begin}"), at("2026-11-23T12:00"))
    assert nights.clock("UTC") == starts
    assert len(nights.said("missed: skipped, as configured")) == 1 - len(starts)
    assert world.live([night], at("2026-11-23T13:00"), at("2026-11-23T14:00")).log[0]["missed"] is False


def test_a_machine_that_slept_wakes_to_its_run(world: World) -> None:
    """Timers stand still meanwhile, so the clock is looked at again and again."""
    world.asleep, world.look_again = (at("2026-11-24T01:00"), timedelta(hours=6)), 30.0
    nights = world.live([profile("30 2 * * *")], at("2026-11-24T00:30"), at("2026-11-24T08:00"))
    (start,) = nights.starts["night"]
    assert timedelta() <= start - at("2026-11-24T07:00") <= timedelta(seconds=31)


def test_a_run_that_was_cut_off_is_owed(world: World) -> None:
    """Stopped in order in the middle of a run: the next scheduler goes on with it, once."""
    night = profile("30 2 * * *")
    cut = world.live([night], at("2026-11-24T02:00"), at("2026-11-24T02:35"))
    assert cut.said("stopping: runs under way end in order")
    assert cut.said("run ended")[0]["exit_code"] == 143
    nights = world.live([night], at("2026-11-24T03:00"), at("2026-11-24T12:00"))
    assert nights.clock("UTC") == ["11-24 03:00"]
    assert world.live([night], at("2026-11-24T13:00"), at("2026-11-24T14:00")).starts == {}


@pytest.mark.parametrize("code", [1, 2, 3, 4, 70, 137])
def test_no_exit_code_ends_the_scheduler(world: World, code: int) -> None:
    """It is told with what it means, and the next night comes."""
    world.code = code
    nights = world.live([profile("30 2 * * *")], at("2026-11-24T00:00"), at("2026-11-26T00:00"))
    assert nights.clock("UTC") == ["11-24 02:30", "11-25 02:30"]
    assert [line["exit_code"] for line in nights.said("run ended")] == [code, code]
    assert {line["log_level"] for line in nights.said("run ended")} == {"error" if code in {70, 137} else "warning"}


def test_a_process_that_cannot_be_started_is_told(world: World) -> None:
    """No memory for one night; the next one comes."""
    world.fails = BlockingIOError(11, "Resource temporarily unavailable")
    nights = world.live([profile("30 2 * * *")], at("2026-11-24T00:00"), at("2026-11-26T00:00"))
    assert [line["reason"] for line in nights.said("could not be started")] == ["Resource temporarily unavailable"] * 2


def test_no_address_in_a_command_is_logged(world: World) -> None:
    """Where somebody is told, and the password of a ledger, are secrets."""
    words = ("run", "jobs.csv", "--notify", "slack://T1/T2/T3", "--ledger=postgresql://me:pw@host/db?password=pw")
    night = profile("30 2 * * *").model_copy(update={"command": words})
    (line,) = world.live([night], at("2026-11-24T00:00"), at("2026-11-24T12:00")).said("run starts")
    assert line["command"] == "run jobs.csv --notify 'slack://…' '--ledger=postgresql://…'"
