"""A simulator that is told anew for each test what to do wrong, and runs of 50 rows against it."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from tests.soak.ground import Ground, Server, make_input
from tests.soak.oracle import Findings, compare, fetch_events, read_results
from worker.batch import run_batch
from worker.config import Settings
from worker.simulator import Fault, ReadFault, SimulatorSettings, VoidForm

if TYPE_CHECKING:
    from pathlib import Path

    from worker.control import Control
    from worker.report import RunReport

__all__ = ["ROWS", "TIMEOUT", "Place", "Ran", "meanwhile", "run_at", "tell"]

ROWS = 50
TIMEOUT = 0.4
"""Seconds for an attempt."""

_CALM: dict[str, Any] = SimulatorSettings().model_dump(mode="json") | {"void": dict.fromkeys(VoidForm, 0.0)}
_CALM["faults"]["shares"] = dict.fromkeys(Fault, 0.0)
_CALM["read_faults"]["shares"] = dict.fromkeys(ReadFault, 0.0)


def tell(server: Server, route: str, body: object) -> Any:
    """POST to one of the simulator's own routes."""
    request = Request(f"{server.url}/_simulator/{route}", json.dumps(body).encode())  # noqa: S310 - to loopback
    with urlopen(request, timeout=20) as reply:  # noqa: S310 - to loopback
        return json.load(reply)


@dataclass(frozen=True)
class Ran:
    """One run, and what the service has to say of it."""

    report: RunReport
    results: list[dict[str, Any]]
    events: list[dict[str, Any]]
    findings: Findings
    error_types: set[str | None] = field(default_factory=set)

    @property
    def outcomes(self) -> dict[str, int]:
        """Rows by outcome, as exported."""
        return dict(self.findings.outcomes)

    @property
    def causes(self) -> list[str]:
        """Why it stopped early."""
        return [stop.cause.value for stop in self.report.stops]

    def sends(self) -> int:
        """Assign calls that came through to the service."""
        return sum(event["kind"] == "received" and event["route"] == "assign" for event in self.events)


@dataclass
class Place:
    """A folder with an input, and a simulator."""

    ground: Ground
    seen: int

    @classmethod
    def make(cls, folder: Path, server: Server, *, seed: int, rows: int = ROWS) -> Place:
        """A fresh input, against a simulator that does nothing wrong."""
        asked = make_input(folder / "jobs.jsonl", rows, seed=seed)
        tell(server, "settings", _CALM)
        events = fetch_events(server.url)
        return cls(Ground(folder, server, asked), events[-1]["seq"] if events else 0)

    def configure(self, **settings: object) -> None:
        """Lay settings over the simulator's."""
        tell(self.ground.server, "settings", settings)

    def fault(self, *faults: Fault, share: float = 1.0, **more: object) -> None:
        """Have assigns go wrong, in equal shares."""
        shares = dict.fromkeys(Fault, 0.0) | dict.fromkeys(faults, share / max(1, len(faults)))
        self.configure(faults={"shares": shares, **more})

    def read_fault(self, *faults: ReadFault, share: float = 1.0, **more: object) -> None:
        """Have reads go wrong, in equal shares."""
        shares = dict.fromkeys(ReadFault, 0.0) | dict.fromkeys(faults, share / max(1, len(faults)))
        self.configure(read_faults={"shares": shares, **more})

    async def run(self, *, control: Control | None = None, **options: object) -> Ran:
        """One call of `run_batch`, and the comparison with the truth."""
        ground = self.ground
        given: dict[str, object] = {
            "api_key": ground.server.api_key,
            "endpoint": ground.server.url,
            "ledger": str(ground.ledger),
            "results": ground.results,
            "timeout": TIMEOUT,
            "concurrency": ROWS,
            **options,
        }
        report = await run_batch(ground.jobs, Settings.from_options(**given), control=control)  # type: ignore[arg-type] # options by name
        return self.look(report)

    def look(self, report: RunReport) -> Ran:
        """What has come of it."""
        results = read_results(self.ground.results)
        events = _once_back(self.ground.server.url, self.seen)
        findings = compare(self.ground.rows, results, events)
        return Ran(report, results, events, findings, {result["error_type"] for result in results})


async def run_at(
    folder: Path, endpoint: str, *, seed: int = 1, rows: int = ROWS, **options: object
) -> tuple[RunReport, list[dict[str, Any]]]:
    """A run against something that is no simulator; its report and its results."""
    jobs, results = folder / "jobs.jsonl", folder / "jobs.results.jsonl"
    make_input(jobs, rows, seed=seed)
    given: dict[str, object] = {
        "api_key": "seam_key_0123456789",
        "endpoint": endpoint,
        "ledger": str(folder / "ledger.db"),
        "results": results,
        "concurrency": 10,
        **options,
    }
    report = await run_batch(jobs, Settings.from_options(**given))  # type: ignore[arg-type] # options by name
    return report, read_results(results)


async def meanwhile(place: Place, sends: int, route: str, body: object) -> None:
    """Tell the simulator something as soon as so many assigns have come."""
    url, seen = place.ground.server.url, place.seen
    while True:
        events = await asyncio.to_thread(fetch_events, url, after=seen)
        if sum(event["kind"] == "received" and event["route"] == "assign" for event in events) >= sends:
            break
        await asyncio.sleep(0.01)
    await asyncio.to_thread(tell, place.ground.server, route, body)


def _once_back(url: str, seen: int) -> list[dict[str, Any]]:
    """The log, as soon as nobody refuses to give it any more."""
    until = time.monotonic() + 20
    while True:
        try:
            return fetch_events(url, after=seen)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
