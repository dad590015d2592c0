"""The scheduler: APScheduler keeps the times, starts what is due, once and never twice at once; here it is told.

What APScheduler does by itself: of several missed starts one is made up for (`coalesce`), a start that is too late is
skipped (`misfire_grace_time`), a profile that still runs is not started again (`max_instances`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, EVENT_JOB_SUBMITTED
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from worker.logs import get_logger
from worker.schedule.times import first_start, next_start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from worker.schedule.notes import Notes
    from worker.schedule.profiles import Profile

__all__ = ["serve"]

_LATE: Final = timedelta(minutes=1)
_INTERRUPTED: Final = frozenset({130, 143})
_MEANINGS: Final = {
    0: "all is well",
    1: "some rows need a look",
    2: "nothing was sent: the command, a setting or a file cannot be used",
    3: "stopped early; the same command goes on",
    4: "another process holds the ledger",
    130: "interrupted; the same command goes on",
    143: "interrupted; the same command goes on",
}


class _Trigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """A profile's starts, for APScheduler."""

    def __init__(self, profile: Profile, host: str) -> None:
        self._profile = profile
        self._host = host

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The start after the previous one."""
        return next_start(self._profile, previous_fire_time or now, host=self._host)


class _Nights:
    """Hears from APScheduler, notes it, and tells it."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of `serve`
        self,
        scheduler: Any,  # noqa: ANN401 - APScheduler ships no types
        profiles: Sequence[Profile],
        notes: Notes,
        run: Callable[[Profile], Awaitable[int]],
        stop: asyncio.Event,
        now: Callable[[], datetime],
    ) -> None:
        self._scheduler = scheduler
        self._zones = {profile.name: profile.time_zone for profile in profiles}
        self._notes = notes
        self._run = run
        self._stop = stop
        self._now = now
        self._due: dict[str, datetime] = {}
        self.running: set[asyncio.Task[Any]] = set()

    def heard(self, event: Any) -> None:  # noqa: ANN401 - likewise
        """Note what APScheduler decided, before it comes to pass."""
        name, log = event.job_id, get_logger().bind(profile=event.job_id)
        if event.code == EVENT_JOB_SUBMITTED:
            self._due[name] = event.scheduled_run_times[-1]
            self._notes.settle(name, through=self._due[name], is_open=True)
        elif event.code == EVENT_JOB_MAX_INSTANCES:
            missed = event.scheduled_run_times[-1]
            self._notes.settle(name, through=missed)
            log.warning("still running: not started again", due=self._told(name, missed), next=self.next(name))
        else:
            self._notes.settle(name, is_open=False)
            log.warning(
                "missed: skipped, as configured", due=self._told(name, event.scheduled_run_time), next=self.next(name)
            )

    async def night(self, profile: Profile) -> None:
        """Run one profile once."""
        if self._stop.is_set():
            return  # begun in the notes and not ended there, so it is owed
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine is run by one
        self.running.add(task)
        try:
            await self._one(profile)
        finally:
            self.running.discard(task)

    async def _one(self, profile: Profile) -> None:
        log, began = get_logger().bind(profile=profile.name), self._now()
        due = self._due[profile.name]
        late = {"late": str(began - due).partition(".")[0]} if began - due > _LATE else {}
        log.info("run starts", command=_shown(profile), due=self._told(profile.name, due), **late)
        try:
            code = await self._run(profile)
        except OSError as error:
            self._notes.settle(profile.name, is_open=False)
            log.error(  # noqa: TRY400 - a sentence of the system, no fault in the code
                "could not be started", reason=error.strerror or str(error), next=self.next(profile.name)
            )
            return
        if not (self._stop.is_set() and code in _INTERRUPTED):
            self._notes.settle(profile.name, is_open=False)
        tell = log.info if code == 0 else log.warning if code in _MEANINGS else log.error
        tell(
            "run ended",
            exit_code=code,
            meaning=_meaning(code),
            seconds=round((self._now() - began).total_seconds(), 1),
            **({} if self._stop.is_set() else {"next": self.next(profile.name)}),
        )

    def next(self, name: str) -> str:
        """The next start, for the log."""
        return self._told(name, self._scheduler.get_job(name).next_run_time)

    def _told(self, name: str, moment: datetime) -> str:
        return moment.astimezone(self._zones[name]).isoformat(timespec="seconds")


def _shown(profile: Profile) -> str:
    """The command for the log; an address in it may hold a password or be a secret as a whole."""
    return shlex.join(f"{word.partition('://')[0]}://…" if "://" in word else word for word in profile.command)


def _meaning(code: int) -> str:
    killed = f"killed by signal {code - 128}" if code > 128 else "an error inside assign-worker"  # noqa: PLR2004 - a shell's
    return _MEANINGS.get(code, f"{killed}; what was recorded is safe")


async def serve(  # noqa: PLR0913 - the parts that tests replace
    profiles: Sequence[Profile],
    notes: Notes,
    run: Callable[[Profile], Awaitable[int]],
    stop: asyncio.Event,
    *,
    host: str = "",
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    look_again: float = 30.0,
) -> None:
    """Run profiles when they are due, until `stop` is set; then no run begins, and those under way are awaited.

    Args:
        profiles: what to run.
        notes: loaded.
        run: one run to its end, giving its exit code; whoever sets `stop` tells the runs under way.
        stop: ends it.
        host: this machine's name, on which jitter depends.
        now: the time (aware).
        look_again: seconds after which the clock is looked at in any case: timers stand still while a machine sleeps.

    Raises:
        ConfigError: the notes cannot be written.
    """
    # Its warnings are told here, with what they mean; its errors would be ours.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    notes.begin(profiles, now())
    scheduler = AsyncIOScheduler(timezone=UTC)
    nights = _Nights(scheduler, profiles, notes, run, stop, now)
    scheduler.add_listener(nights.heard, EVENT_JOB_SUBMITTED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED)
    for profile in profiles:
        first = first_start(profile, notes.get(profile), now(), host=host)
        scheduler.add_job(
            nights.night,
            _Trigger(profile, host),
            args=(profile,),
            id=profile.name,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=round(profile.grace) if profile.missed == "skip" else None,
            next_run_time=first,
        )
        get_logger().info("scheduled", profile=profile.name, next=nights.next(profile.name), missed=first <= now())
    scheduler.start()
    try:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), look_again)
            scheduler.wakeup()
    finally:
        scheduler.pause()
        if nights.running:
            get_logger().info("stopping: runs under way end in order", runs=len(nights.running))
        await asyncio.gather(*nights.running, return_exceptions=True)
        scheduler.shutdown(wait=False)
        await asyncio.sleep(0)  # it shuts down in the loop's next turn
