"""The command: `scripts/bench --fleet`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from bench_fleet import lanes, overhead, submit, takeover, workers
from bench_fleet.goals import Goal, as_json, goals_table
from bench_fleet.lanes import Crowd
from tests.servers import postgres_server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.servers import Server

__all__ = ["FULL", "PARTS", "QUICK", "Effort", "measure"]


@dataclass(frozen=True)
class Effort:
    """How much, and how often."""

    submitted: tuple[int, ...]
    """Rows, ascending."""
    rows_each: int
    """In each workspace, for one worker and two."""
    overhead_rows: int
    rounds: int
    kills: int
    hasty: bool
    """Whether the fleet's times are made short."""
    crowd: Crowd


QUICK: Final = Effort(
    (50_000, 200_000),
    rows_each=200,
    overhead_rows=30_000,
    rounds=3,
    kills=2,
    hasty=True,
    crowd=Crowd(workspaces=100, rows=40, rate=2.0, burst=5.0),
)
FULL: Final = Effort(
    (500_000, 2_000_000, 5_000_000),
    rows_each=600,
    overhead_rows=300_000,
    rounds=3,
    kills=2,
    hasty=False,
    crowd=Crowd(workspaces=1_000, rows=100, rate=1.0, burst=5.0),
)

Part = tuple[str, Any, list[Goal]]
"""A table, its figures, and the bars."""


def _submit(server: Server, effort: Effort) -> Part:
    found = submit.measure(server, effort.submitted)
    return submit.show(found), [asdict(one) for one in found], submit.goals(found)


def _workers(server: Server, effort: Effort) -> Part:
    found = workers.measure(server, effort.rows_each, effort.rounds)
    return workers.show(found), asdict(found), workers.goals(found)


def _overhead(server: Server, effort: Effort) -> Part:
    found = overhead.measure(server, effort.overhead_rows, effort.rounds)
    return overhead.show(found), asdict(found), overhead.goals(found)


def _takeover(server: Server, effort: Effort) -> Part:
    found = takeover.measure(server, effort.kills, hasty=effort.hasty)
    return takeover.show(found), asdict(found), takeover.goals(found)


def _lanes(server: Server, effort: Effort) -> Part:
    found = lanes.measure(server, effort.crowd)
    return lanes.show(effort.crowd, found), [asdict(one) for one in found], lanes.goals(found)


PARTS: Final[dict[str, Callable[[Server, Effort], Part]]] = {
    "submit": _submit,
    "workers": _workers,
    "overhead": _overhead,
    "takeover": _takeover,
    "lanes": _lanes,
}


def measure(server: Server, parts: Sequence[str], effort: Effort) -> tuple[dict[str, Any], list[Goal]]:
    """Take these parts one after the other, telling a table of each; the figures by part, and the bars."""
    document: dict[str, Any] = {}
    goals: list[Goal] = []
    for part in parts:
        shown, figures, bars = PARTS[part](server, effort)
        print(f"\n{shown}", flush=True)
        document[part] = figures
        goals += bars
    return document, goals


def main() -> int:
    """Measure what was asked for; print tables, then one JSON document; 1 if a bar was missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench --fleet", description="A fleet on this machine alone.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all, unless some are named")
    parser.add_argument("--full", action="store_true", help="sizes and times as in earnest (half an hour)")
    wanted = parser.parse_args()
    if unknown := set(wanted.parts) - PARTS.keys():
        parser.error(f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    if len(os.sched_getaffinity(0)) < 2:  # noqa: PLR2004 - one for the workers, one for the service
        parser.error("two cores are needed")
    with postgres_server(durable=True) as server:
        document, goals = measure(server, wanted.parts or tuple(PARTS), FULL if wanted.full else QUICK)
    print(f"\n{goals_table(goals)}\n")
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"machine": machine, "full": wanted.full, "fleet": document, "goals": as_json(goals)}))
    return 0 if all(goal.held for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
