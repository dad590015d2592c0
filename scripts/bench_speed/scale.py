"""Memory, resume, check and export by the number of rows, and how each grows."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench_speed.figures import Bar, drawn_out, growth
from bench_speed.jobs import write_jobs
from bench_speed.processes import HERE, WORKER, WORKER_PYTHON, run, serving

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MEASURES", "Scale", "grows", "measure", "scale_bars"]

OPEN_ROWS: Final = 100
"""Rows left to send in the run that is resumed."""
MOST_MIB: Final = 120.0
GOAL_ROWS: Final = 1_000_000
SECONDS: Final = {"resume_seconds": 5.0, "check_seconds": 10.0, "export_seconds": 15.0}
"""Goals for so many rows."""
QUICK_START: Final = 0.150
"""Goal for `--help` and `--version`, in seconds."""


@dataclass(frozen=True)
class Scale:
    """One size of input."""

    rows: int
    run_seconds: float
    sending_seconds: float
    staging_cpu_us: float
    """CPU microseconds per row, this and the next two."""
    sending_cpu_us: float
    exporting_cpu_us: float
    run_peak_mib: float
    resume_seconds: float
    """From the start of the command to the first request, with all rows but some settled."""
    resume_peak_mib: float
    check_seconds: float
    check_peak_mib: float
    export_seconds: float
    export_peak_mib: float
    ledger_mib: float


MEASURES: Final = tuple(name for name in Scale.__dataclass_fields__ if name != "rows")


def measure(rows: int) -> Scale:
    """Run, resume, check and export an input of so many rows."""
    print(f"{rows} rows ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        folder = Path(name)
        jobs, ledger, results = write_jobs(folder / "jobs.csv", rows), folder / "ledger.db", folder / "results.csv"
        places = ["--ledger", ledger, "--results", results]
        with serving(0.0) as service:
            ran = run([WORKER_PYTHON, HERE / "phases.py", "run", jobs, "--endpoint", service.url, "--json", *places])
        report: dict[str, Any] = ran.json()
        if report["outcomes"]["assigned"] != rows:
            raise RuntimeError(f"the worker assigned {report['outcomes']} of {rows} rows")
        size = ledger.stat().st_size / 2**20
        exported = run([WORKER, "results", "--ledger", ledger, "--output", folder / "again.csv"])
        if (folder / "again.csv").read_bytes() != results.read_bytes():
            raise RuntimeError("a second export differs from the first")
        checked = run([WORKER, "check", jobs])
        _reopen(ledger, rows - OPEN_ROWS)
        with serving(0.0) as service:
            # Another port is another endpoint, and so another run: the resumed one has to find its own.
            _point_to(ledger, service.url)
            resumed = run([WORKER, "run", jobs, "--endpoint", service.url, "--json", *places])
            first = service.first_assign()
        if resumed.json()["outcomes"]["assigned"] != rows:
            raise RuntimeError("the resumed run did not end")
    cpu = {phase: used["cpu_seconds"] / rows * 1e6 for phase, used in report["phases"].items()}
    return Scale(
        rows=rows,
        run_seconds=ran.seconds,
        sending_seconds=report["sending_seconds"],
        staging_cpu_us=cpu["staging"],
        sending_cpu_us=cpu["sending"],
        exporting_cpu_us=cpu["exporting"],
        run_peak_mib=ran.peak_mib,
        resume_seconds=first - resumed.started_at,
        resume_peak_mib=resumed.peak_mib,
        check_seconds=checked.seconds,
        check_peak_mib=checked.peak_mib,
        export_seconds=exported.seconds,
        export_peak_mib=exported.peak_mib,
        ledger_mib=size,
    )


def _reopen(ledger: Path, settled: int) -> None:
    """Make it look as if the run had been stopped in order after so many rows."""
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("DELETE FROM results WHERE row > ?", (settled,))
        connection.execute("UPDATE shards SET dispatched_through = ?", (settled,))
        connection.execute("UPDATE runs SET state = 'open'")


def _point_to(ledger: Path, endpoint: str) -> None:
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("UPDATE runs SET endpoint = ?", (endpoint,))


def grows(scales: Sequence[Scale]) -> dict[str, float]:
    """By figure, the exponent of its growth from the smallest to the largest input: 0 is flat, 1 is linear."""
    small, large = scales[0], scales[-1]
    return {name: growth((small.rows, getattr(small, name)), (large.rows, getattr(large, name))) for name in MEASURES}


def start_seconds() -> dict[str, float]:
    """How long `--help` and `--version` take; the quickest of five."""
    return {flag: min(run([WORKER, flag]).seconds for _ in range(5)) for flag in ("--help", "--version")}


def scale_bars(scales: Sequence[Scale], starts: dict[str, float]) -> list[Bar]:
    """The goals; those in seconds are for 1 000 000 rows, to which smaller inputs are drawn out by a straight line."""
    before, largest = scales[-2:]
    rows = ((before.rows, largest.rows), max(largest.rows, GOAL_ROWS))
    peaks = ("run_peak_mib", "resume_peak_mib", "check_peak_mib", "export_peak_mib")
    return [
        *(
            Bar(
                f"{name} for {rows[1]:,} rows, {limit:.0f} s over the figure",
                1.0,
                limit / drawn_out(*rows, (getattr(before, name), getattr(largest, name))),
            )
            for name, limit in SECONDS.items()
        ),
        *(
            Bar(f"{name}, {MOST_MIB:.0f} MiB over the figure", 1.0, MOST_MIB / max(getattr(s, name) for s in scales))
            for name in peaks
        ),
        *(Bar(f"{flag}, {QUICK_START} s over the figure", 1.0, QUICK_START / took) for flag, took in starts.items()),
    ]


def as_json(scales: Sequence[Scale]) -> list[dict[str, Any]]:
    """For the JSON document."""
    return [asdict(scale) for scale in scales]
