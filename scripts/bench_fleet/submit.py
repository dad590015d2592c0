"""A file of any size handed to the fleet: rows a second, memory, and where the time goes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench_speed.figures import table
from bench_speed.processes import WORKER_PYTHON, FailedError

from bench_fleet.goals import Goal, least, most
from bench_fleet.ground import open_ground
from bench_fleet.jobs import write_mixed
from bench_fleet.stages import STAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.servers import Server

__all__ = ["Submitted", "goals", "measure", "show"]

WORKSPACES: Final = 1_000
LEAST_RATE: Final = 100_000.0
"""Rows/s, from start to exit."""
MOST_MIB: Final = 150.0
NOWHERE: Final = "http://127.0.0.1:1"
"""Nothing is sent from `submit`."""
_TIMED: Final = (WORKER_PYTHON, Path(__file__).with_name("stages.py"))


@dataclass(frozen=True)
class Submitted:
    """One size of input, in an empty database."""

    rows: int
    seconds: float
    """From start to exit."""
    cpu_us: float
    """Of the command, microseconds per row; the server's comes on top."""
    peak_mib: float
    stages: dict[str, dict[str, float]]
    """Stage -> its wall and CPU seconds."""

    @property
    def rate(self) -> float:
        """Rows/s."""
        return self.rows / self.seconds


def measure(server: Server, sizes: Sequence[int]) -> list[Submitted]:
    """Submit a file of each size."""
    return [_take(server, rows) for rows in sizes]


def _take(server: Server, rows: int) -> Submitted:
    with tempfile.TemporaryDirectory(prefix="bench-submit-") as folder, open_ground(server, NOWHERE) as ground:
        jobs = write_mixed(Path(folder) / "jobs.csv", rows, workspaces=min(WORKSPACES, rows))
        server.execute("CHECKPOINT")  # so that no size pays for what the one before left to write
        ended = ground.run("fleet", "submit", jobs, "--json", command=_TIMED)
    told: dict[str, Any] = ended.json()
    if told["rows"] != rows or not told["jobs"]:
        raise FailedError(f"{rows} rows were submitted as {told}")
    return Submitted(rows, ended.seconds, ended.cpu_seconds / rows * 1e6, ended.peak_mib, told["stages"])


def show(found: Sequence[Submitted]) -> str:
    """A column for each size."""
    head = ("submit", *(f"{one.rows:,} rows" for one in found))
    rows: list[Sequence[object]] = [
        ("rows/s", *(one.rate for one in found)),
        ("CPU µs/row", *(one.cpu_us for one in found)),
        ("peak MiB", *(one.peak_mib for one in found)),
        ("seconds", *(one.seconds for one in found)),
    ]
    for stage in STAGES:
        rows.append((f"- {stage}", *(one.stages[stage]["seconds"] for one in found)))
        rows.append(("  its CPU here", *(one.stages[stage]["cpu_seconds"] for one in found)))
    return table(head, rows)


def goals(found: Sequence[Submitted]) -> list[Goal]:
    """Rate at the largest size, memory at any."""
    largest = found[-1]
    return [
        least(f"submit {largest.rows:,} rows: rows/s", LEAST_RATE, largest.rate),
        most("submit: peak MiB at any size", MOST_MIB, max(one.peak_mib for one in found)),
    ]
