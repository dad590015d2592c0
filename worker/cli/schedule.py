"""`assign-worker schedule`: profiles by cron expression, in the foreground."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli.loading import begin, start_logs
from worker.cli.options import GroupedCommand, declare, option, setting, takes_no_key

if TYPE_CHECKING:
    from worker.models import StopCause
    from worker.schedule import Schedule

__all__ = ["command"]

_LEVEL_VARIABLE: Final = "ASSIGN_WORKER_LOG_LEVEL"


@click.command(
    "schedule",
    cls=GroupedCommand,
    epilog="""Ctrl-C or SIGTERM: no new run begins, runs under way end in order; a second one leaves at once.

    Exit codes: 0 --list has shown them; 2 the file cannot be used, and nothing was run; 130 and 143 ended by SIGINT or
    SIGTERM. What a run ends with is told in the log and ends nothing.""",
)
@click.argument("file", metavar="FILE")
@declare(
    takes_no_key,
    option("Options", "--list", "only_list", is_flag=True, default=False, help="Check FILE, show the next times, end."),
    setting("log_format"),
    option("Options", "--log-level", metavar="LEVEL", help="debug, info, warning or error. Default: info."),
)
def command(file: str, *, only_list: bool, **flags: Any) -> None:  # noqa: ANN401 - settings, judged by worker.config
    """Run the profiles of FILE (TOML), each when its cron expression says so.

    Each run is a process of its own, with the command that its profile names. Never two of one profile at once.
    """
    # What a scheduler does is what it is watched for.
    flags["log_level"] = flags["log_level"] or os.environ.get(_LEVEL_VARIABLE) or "info"
    start_logs(begin(flags, None, "the schedule", keys=False))

    from worker.cli.judging import judge_in  # noqa: PLC0415 - slow to import
    from worker.schedule import load_schedule  # noqa: PLC0415 - likewise

    path = Path(file)
    schedule = load_schedule(path, judge_in(path.absolute().parent))
    if only_list:
        _print_times(schedule)
        return
    with asyncio.Runner() as runner:
        cause = runner.run(_serve(schedule))
    raise click.exceptions.Exit(128 + signal.Signals[cause.name])


async def _serve(schedule: Schedule) -> StopCause:
    from worker.cli.signals import Signals  # noqa: PLC0415 - slow to import
    from worker.schedule import Children, Notes, serve  # noqa: PLC0415 - likewise

    notes = Notes(schedule.state)
    notes.load()
    stop, children = asyncio.Event(), Children(schedule.folder)
    causes: list[StopCause] = []

    def drain(cause: StopCause) -> None:
        causes.append(cause)
        stop.set()
        children.end()

    with Signals(asyncio.get_running_loop(), drain, children.leave):
        await serve(schedule.profiles, notes, children.run, stop, host=platform.node())
    return causes[0]


def _print_times(schedule: Schedule) -> None:
    from datetime import UTC, datetime  # noqa: PLC0415 - for this page only

    from worker.cli.page import cell, open_page, plain_table  # noqa: PLC0415 - slow to import
    from worker.schedule import Notes, first_start, is_owed, next_start  # noqa: PLC0415 - likewise

    notes, host, now = Notes(schedule.state), platform.node(), datetime.now(UTC)
    notes.load()
    table = plain_table("profile", "next", "then", "time zone")
    for profile in schedule.profiles:
        first = first_start(profile, notes.get(profile), now, host=host)
        at_once = ["at once: missed"] if is_owed(profile, first, now, host=host) else []
        upcoming = [next_start(profile, now, host=host)]
        upcoming.append(next_start(profile, upcoming[0], host=host))
        times = [f"{moment.astimezone(profile.time_zone):%Y-%m-%d %H:%M:%S}" for moment in upcoming]
        table.add_row(cell(profile.name), *[*at_once, *times][:2], cell(profile.time_zone))
    with open_page() as console:
        console.print(table)
