"""The CPU that a row costs in a fleet, beside a plain run of the same file on the same server."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import psutil
from bench_speed.figures import table
from bench_speed.jobs import write_jobs
from bench_speed.processes import HERE, WORKER_PYTHON, serving

from bench_fleet.goals import Goal, most, ratio
from bench_fleet.ground import end_all, open_ground

if TYPE_CHECKING:
    from bench_fleet.ground import Ground
    from tests.servers import Server

__all__ = ["Cost", "Overhead", "goals", "measure", "show"]

WORKSPACES: Final = 16
MOST: Final = 1.15
_TIMED: Final = (WORKER_PYTHON, HERE / "phases.py")


@dataclass(frozen=True)
class Cost:
    """CPU microseconds per row, of our processes; the server's and the service's are not in it."""

    sending: float
    """Of a run, its sending phase; of a worker, from the file's hand-over to the run's end."""
    whole: float
    """From start to exit of all commands: run; or submit, worker and results."""


@dataclass(frozen=True)
class Overhead:
    """Medians over rounds in alternation."""

    rows: int
    plain: Cost
    fleet: Cost
    times: Cost
    """Median of the rounds' ratios."""


def measure(server: Server, rows: int, rounds: int) -> Overhead:
    """Send the same file by a plain run and by a worker of a fleet, in turns."""
    with serving(0.0) as service, tempfile.TemporaryDirectory(prefix="bench-overhead-") as folder:
        jobs = write_jobs(Path(folder) / "jobs.csv", rows, workspaces=WORKSPACES)
        pairs = []
        for number in range(1, rounds + 1):
            print(f"a fleet and a plain run, round {number} of {rounds}", file=sys.stderr, flush=True)
            with open_ground(server, service.url) as ground:
                plain = _plain(ground, jobs, rows)
            with open_ground(server, service.url) as ground:
                pairs.append((_fleet(ground, jobs, rows), plain))
    return Overhead(
        rows,
        Cost(median(plain.sending for _, plain in pairs), median(plain.whole for _, plain in pairs)),
        Cost(median(fleet.sending for fleet, _ in pairs), median(fleet.whole for fleet, _ in pairs)),
        Cost(
            ratio([(fleet.sending, plain.sending) for fleet, plain in pairs]),
            ratio([(fleet.whole, plain.whole) for fleet, plain in pairs]),
        ),
    )


def _plain(ground: Ground, jobs: Path, rows: int) -> Cost:
    ended = ground.run("run", jobs, "--json", "--results", jobs.with_name("results.csv"), command=_TIMED)
    ground.sending_seconds(rows)
    return Cost(ended.json()["phases"]["sending"]["cpu_seconds"] / rows * 1e6, ended.cpu_seconds / rows * 1e6)


def _fleet(ground: Ground, jobs: Path, rows: int) -> Cost:
    with ground.workers(1) as workers:
        before = _cpu_seconds(workers[0].pid)
        submitted = ground.submit(jobs)
        ground.wait_until_done()
        sending = _cpu_seconds(workers[0].pid) - before
        (worker,) = end_all(workers)
    exported = ground.run("results", "--output", jobs.with_name("results.csv"))
    ground.sending_seconds(rows)
    whole = submitted.cpu_seconds + worker.cpu_seconds + exported.cpu_seconds
    return Cost(sending / rows * 1e6, whole / rows * 1e6)


def _cpu_seconds(pid: int) -> float:
    """Used so far, children included."""
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system + used.children_user + used.children_system)


def show(found: Overhead) -> str:
    """A column for each side."""
    head = (f"CPU µs/row, {found.rows:,} rows", "plain run", "fleet", "times")
    return table(
        head,
        [
            ("sending phase", found.plain.sending, found.fleet.sending, found.times.sending),
            ("all commands, start to exit", found.plain.whole, found.fleet.whole, found.times.whole),
        ],
    )


def goals(found: Overhead) -> list[Goal]:
    """The bar, on both."""
    return [
        most("fleet: times the CPU of a plain run, sending", MOST, found.times.sending),
        most("fleet: times the CPU of a plain run, start to exit", MOST, found.times.whole),
    ]
