"""Two workers beside one, on a service that takes its time and has no limit."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from bench_speed.figures import table
from bench_speed.jobs import write_jobs
from bench_speed.processes import serving

from bench_fleet.goals import Goal, least, ratio
from bench_fleet.ground import end_all, open_ground

if TYPE_CHECKING:
    from tests.servers import Server

__all__ = ["Workers", "goals", "measure", "show"]

WORKSPACES: Final = 16
"""As many as two workers have in hand at a time; one of them has two goes."""
DELAY: Final = 0.020
IN_FLIGHT: Final = 16
"""Of each worker: so few that the machine is mostly idle, and the service's delay is what a row waits for."""
LEAST: Final = 1.8


@dataclass(frozen=True)
class Workers:
    """Medians over rounds in alternation."""

    rows: int
    one: float
    """Rows/s of one worker, from the first request to the last result."""
    two: float
    times: float
    """Median of the rounds' ratios."""


def measure(server: Server, rows: int, rounds: int) -> Workers:
    """Send the same file by one worker and by two, in turns; so many rows in each workspace."""
    total = rows * WORKSPACES
    with serving(DELAY) as service, tempfile.TemporaryDirectory(prefix="bench-workers-") as folder:
        jobs = write_jobs(Path(folder) / "jobs.csv", total, workspaces=WORKSPACES)
        pairs = []
        for number in range(1, rounds + 1):
            print(f"two workers and one, round {number} of {rounds}", file=sys.stderr, flush=True)
            one, two = (_rate(server, service.url, jobs, total, count) for count in (1, 2))
            pairs.append((two, one))
    return Workers(total, median(one for _, one in pairs), median(two for two, _ in pairs), ratio(pairs))


def _rate(server: Server, url: str, jobs: Path, rows: int, count: int) -> float:
    with (
        open_ground(server, url) as ground,
        ground.workers(count, "--shards", WORKSPACES // 2, "--concurrency", IN_FLIGHT) as workers,
    ):
        ground.submit(jobs)
        ground.wait_until_done()
        end_all(workers)
        return rows / ground.sending_seconds(rows)


def show(found: Workers) -> str:
    """One line."""
    head = ("two workers beside one", "rows", "rows/s of one", "of two", "times")
    return table(head, [(f"{IN_FLIGHT} in flight each", f"{found.rows:,}", found.one, found.two, found.times)])


def goals(found: Workers) -> list[Goal]:
    """The bar."""
    return [least("two workers: times the rows/s of one", LEAST, found.times)]
