"""Many workspaces with a limit of their own each, by a fleet and by a plain run, beside the best possible time."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bench_speed.figures import table
from bench_speed.jobs import workspace_id, write_jobs
from bench_speed.processes import TOKEN

from bench_fleet.goals import Goal, most
from bench_fleet.ground import end_all, open_ground
from tests.soak.ground import simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench_fleet.ground import Ground
    from tests.servers import Server

__all__ = ["Crowd", "Played", "goals", "measure", "show"]

LATENCY: Final = 0.02
WORKERS: Final = 2
MOST: Final = 1.15


@dataclass(frozen=True)
class Crowd:
    """How many lanes, and how long each is."""

    workspaces: int
    rows: int
    """In each."""
    rate: float
    """Requests/s that the slowest one takes; the quickest takes half as many more."""
    burst: float

    def limits(self) -> dict[str, float]:
        """Workspace -> its rate, at random but the same each time."""
        chance = random.Random(10)  # noqa: S311 - no secret
        return {workspace_id(number): self.rate * chance.uniform(1.0, 1.5) for number in range(self.workspaces)}


@dataclass(frozen=True)
class Played:
    """One way to send them all."""

    way: str
    seconds: float
    """From the first request to the last result."""
    of_ideal: float
    limited: float
    """429s a lane, median."""
    most_limited: int
    """429s of the lane with most."""
    limited_share: float
    """429s, as a share of the rows."""


def measure(server: Server, crowd: Crowd) -> list[Played]:
    """By two workers of a fleet, and by a plain run, one after the other, each with a service of its own."""
    limits = crowd.limits()
    ideal = max((crowd.rows - crowd.burst) / rate for rate in limits.values())
    ways: Mapping[str, Callable[[Ground, Path], None]] = {"fleet": _fleet, "plain run": _plain}
    found = []
    for way, send in ways.items():
        print(f"{crowd.workspaces} lanes by {way}, some {ideal:.0f} s", file=sys.stderr, flush=True)
        found.append(_play(server, crowd, limits, ideal, way, send))
    return found


def _play(  # noqa: PLR0913, PLR0917 - a scene and who plays in it
    server: Server,
    crowd: Crowd,
    limits: Mapping[str, float],
    ideal: float,
    way: str,
    send: Callable[[Ground, Path], None],
) -> Played:
    rows = crowd.workspaces * crowd.rows
    with tempfile.TemporaryDirectory(prefix="bench-lanes-") as name:
        folder = Path(name)
        jobs = write_jobs(folder / "jobs.csv", rows, workspaces=crowd.workspaces)
        with (
            simulator(folder, _world(crowd, limits)) as service,
            open_ground(server, service.url) as ground,
        ):
            send(ground, jobs)
            seconds = ground.sending_seconds(rows)
            with urllib.request.urlopen(f"{service.url}/_simulator/stats", timeout=60) as reply:  # noqa: S310 - loopback
                stats: Mapping[str, Any] = json.load(reply)
    limited = [stats["workspaces"][workspace]["limited"] for workspace in limits]
    return Played(way, seconds, seconds / ideal, median(limited), max(limited), sum(limited) / rows)


def _world(crowd: Crowd, limits: Mapping[str, float]) -> dict[str, Any]:
    return {
        "access": {"personal_access_tokens": {token: [] for token in TOKEN.values()}},
        "latency": {"median": LATENCY},
        "workspace_limits": {
            workspace: {"kind": "token_bucket", "rate": rate, "burst": crowd.burst}
            for workspace, rate in limits.items()
        },
        "log": "applied",
    }


def _fleet(ground: Ground, jobs: Path) -> None:
    with ground.workers(WORKERS) as workers:
        ground.submit(jobs)
        ground.wait_until_done()
        end_all(workers)


def _plain(ground: Ground, jobs: Path) -> None:
    ground.run("run", jobs, "--json", "--results", jobs.with_name("results.csv"))


def show(crowd: Crowd, found: Sequence[Played]) -> str:
    """A line for each way."""
    head = (
        f"{crowd.workspaces:,} lanes of {crowd.rows} rows, {crowd.rate:g} to {1.5 * crowd.rate:g} requests/s each",
        *("seconds", "of the ideal", "429s a lane", "at most", "of rows"),
    )
    return table(
        head,
        [(one.way, one.seconds, one.of_ideal, one.limited, one.most_limited, one.limited_share) for one in found],
    )


def goals(found: Sequence[Played]) -> list[Goal]:
    """The bar is the fleet's; the plain run shows what of it is the throttle's part."""
    return [
        most(f"lanes by a {one.way}: time over the ideal", MOST, one.of_ideal) for one in found if one.way == "fleet"
    ]
