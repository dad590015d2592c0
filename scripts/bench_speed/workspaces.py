"""A thousand workspaces in one file beside one workspace with as many rows."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from bench_speed.figures import Bar
from bench_speed.jobs import write_jobs
from bench_speed.processes import TOKEN, WORKER, run, serving

__all__ = ["Fleet", "bars", "measure"]

WORKSPACES: Final = 1_000
ROWS_EACH: Final = 10
MOST: Final = 1.3
"""Times the time of one workspace."""


@dataclass(frozen=True)
class Fleet:
    """Medians over rounds in alternation; the whole command, from start to exit."""

    workspaces: int
    rows: int
    seconds_alone: float
    """One workspace with all rows."""
    seconds: float
    of_alone: float
    """Median of the rounds' ratios, this and the next one."""
    cpu_of_alone: float


def measure(rounds: int) -> Fleet:
    """Both files through the command, in turns, against a service that answers at once."""
    rows = WORKSPACES * ROWS_EACH
    print(f"{WORKSPACES} workspaces ...", file=sys.stderr, flush=True)
    with serving(0.0) as service, tempfile.TemporaryDirectory(prefix="bench-workspaces-") as name:
        one = write_jobs(Path(name) / "one.csv", rows, workspaces=1)
        many = write_jobs(Path(name) / "many.csv", rows, workspaces=WORKSPACES)
        pairs = [(_take(one, service.url, rows), _take(many, service.url, rows)) for _ in range(rounds)]
    return Fleet(
        WORKSPACES,
        rows,
        median(alone[0] for alone, _ in pairs),
        median(fleet[0] for _, fleet in pairs),
        median(fleet[0] / alone[0] for alone, fleet in pairs),
        median(fleet[1] / alone[1] for alone, fleet in pairs),
    )


def _take(jobs: Path, url: str, rows: int) -> tuple[float, float]:
    """Seconds, and CPU seconds, of one run in a fresh folder."""
    with tempfile.TemporaryDirectory(prefix="bench-run-") as folder:
        places = ["--ledger", f"{folder}/ledger.db", "--results", f"{folder}/results.csv"]
        ended = run([WORKER, "run", jobs, "--endpoint", url, "--json", *places], keys=TOKEN)
    outcomes = ended.json()["outcomes"]
    if outcomes["assigned"] != rows:
        raise RuntimeError(f"the worker assigned {outcomes} of {rows} rows")
    return ended.seconds, ended.cpu_seconds


def bars(fleet: Fleet) -> list[Bar]:
    """The goal."""
    return [
        Bar(
            f"{fleet.workspaces:,} workspaces beside one, {fleet.rows:,} rows: {MOST} over the times as long",
            1.0,
            MOST / fleet.of_alone,
        )
    ]
