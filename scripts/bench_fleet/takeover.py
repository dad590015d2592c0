"""A worker that is killed: how long until another one sends what it had."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from bench_speed.figures import table
from bench_speed.jobs import write_jobs
from bench_speed.processes import WORKER, FailedError, serving

from bench_fleet.goals import Goal, most
from bench_fleet.ground import HASTY, open_ground, wait_for
from tests.fleet.driver import SHORT
from worker.fleet.timing import Timing

if TYPE_CHECKING:
    from tests.servers import Server

__all__ = ["Takeover", "goals", "measure", "show"]

WORKSPACES: Final = 8
DELAY: Final = 0.2
"""So long that few rows take long."""
ROWS: Final = 100
"""In each workspace, one after the other: twenty seconds, in which the other worker starts."""
BEGUN: Final = 3
"""Rows of each workspace that are there before."""
GRACE: Final = 15.0
"""Seconds beyond the time after which a worker is taken for dead."""

_HELD: Final = "SELECT count(*) FROM assign_worker.shards WHERE lease_until IS NOT NULL"
_AGAIN: Final = (
    "SELECT min(started_at) FROM assign_worker.results JOIN assign_worker.inputs USING (run_no, row)"
    " WHERE started_at > %s GROUP BY shard"
)


@dataclass(frozen=True)
class Takeover:
    """Seconds from a kill to the first request of the last of its shards, over all rounds."""

    stale: float
    """After which a worker without a sign of life is dead."""
    shards: int
    """Of the killed worker, in each round."""
    typical: float
    """Median of the rounds."""
    longest: float


def measure(server: Server, rounds: int, *, hasty: bool) -> Takeover:
    """Kill a worker that has all shards of a run in hand, while another one is idle.

    Args:
        server: where the ledgers are made.
        rounds: kills.
        hasty: with the short times of the tests in place of a fleet's own.
    """
    timing = SHORT if hasty else Timing()
    with serving(DELAY) as service, tempfile.TemporaryDirectory(prefix="bench-takeover-") as folder:
        jobs = write_jobs(Path(folder) / "jobs.csv", ROWS * WORKSPACES, workspaces=WORKSPACES)
        times = []
        for number in range(1, rounds + 1):
            print(
                f"a killed worker, round {number} of {rounds}, some {timing.stale:.0f} s", file=sys.stderr, flush=True
            )
            times.append(_take(server, service.url, jobs, hasty=hasty))
    return Takeover(timing.stale, WORKSPACES, median(times), max(times))


def _take(server: Server, url: str, jobs: Path, *, hasty: bool) -> float:
    command, more = (HASTY, ("--timeout", 1)) if hasty else ((WORKER,), ())
    options = ("--shards", WORKSPACES, "--concurrency", WORKSPACES, *more)
    with open_ground(server, url) as ground, ground.workers(1, *options, command=command) as (killed,):
        ground.submit(jobs)
        ground.wait_until_sent(WORKSPACES * BEGUN)
        with ground.workers(1, *options, command=command):
            killed.send(signal.SIGKILL)
            at = time.time()
            if (held := ground.ask(_HELD)) != [(WORKSPACES,)]:
                raise FailedError(f"the worker that was killed had {held[0][0]} of {WORKSPACES} shards")
            wait_for(lambda: len(ground.ask(_AGAIN, at)) == WORKSPACES)
        return float(max(first for (first,) in ground.ask(_AGAIN, at))) - at


def show(found: Takeover) -> str:
    """One line."""
    head = ("seconds until a killed worker's shards are sent again", "shards", "stale after", "median", "longest")
    return table(head, [("by one that was idle", found.shards, found.stale, found.typical, found.longest)])


def goals(found: Takeover) -> list[Goal]:
    """The bar."""
    return [most("killed worker: seconds until all it had is sent again", found.stale + GRACE, found.longest)]
