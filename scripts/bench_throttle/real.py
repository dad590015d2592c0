"""Confirms the virtual clock: the same services over real sockets, sent to by the command itself.

Each scenario is played twice: on the virtual clock, and by `assign-worker run` against `assign-worker simulate`
in a process of its own on loopback. Both times are set beside the same ideal.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench_speed.jobs import write_jobs

from bench_throttle import evaluate
from bench_throttle.scenarios import Scenario, ideal_time, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["SCENARIOS", "Confirmed", "confirm"]

COMMAND: Final = Path(__file__).parent.parent.parent / ".venv/bin/assign-worker"
NETWORK: Final = 0.002
"""Seconds of a round trip over loopback, both processes' work included."""
START: Final = 0.7
"""Seconds from the service's start, from which its steps count, to the first request."""
PHASES: Final = 5
"""Where a window turns relative to the start is chance: the virtual figure is the median over so many phases."""
KINDS: Final = {"bucket": "token_bucket", "fixed": "fixed_window", "sliding": "sliding_window", "cap": "concurrency"}

SCENARIOS: Final = {
    "bucket, no Retry-After": plain("bucket", 100.0, rows=1_500, round_trip=0.05, network=NETWORK, burst=10.0),
    "bucket, Retry-After": plain(
        "bucket", 200.0, rows=3_000, round_trip=0.02, network=NETWORK, burst=200.0, retry_after="seconds"
    ),
    "bucket, rejects count": plain(
        "bucket", 50.0, rows=800, round_trip=0.05, network=NETWORK, burst=5.0, rejects_count=True
    ),
    "fixed window of 1 s": plain("fixed", 150.0, rows=2_250, round_trip=0.03, network=NETWORK, window=1.0),
    "sliding window of 2 s, Retry-After": plain(
        "sliding", 80.0, rows=1_200, round_trip=0.1, network=NETWORK, window=2.0, retry_after="seconds"
    ),
    "12 at once": plain("cap", 120.0, rows=1_800, round_trip=0.1, network=NETWORK, spread=0.2),
    "bucket, limit times four": plain(
        "bucket", 50.0, rows=2_000, round_trip=0.05, network=NETWORK, burst=10.0, step=(200.0, 6.0)
    ),
}


@dataclass(frozen=True)
class Confirmed:
    """One scenario, played twice; times in parts of the ideal, 429s in parts of the rows."""

    name: str
    ideal: float
    """Seconds."""
    virtual: float
    real: float
    virtual_limited: float
    real_limited: float


def confirm(name: str, scenario: Scenario) -> Confirmed:
    """Play one scenario on the virtual clock and over sockets."""
    ideal = ideal_time(scenario)
    make = evaluate.SCHEMES[evaluate.OURS]
    phases = (scenario.window * (part + 0.5) / PHASES for part in range(PHASES))
    played = [evaluate.play(replace(scenario, phase=phase), make, ideal) for phase in phases]
    played.sort(key=lambda outcome: outcome.over_ideal)
    middle = played[PHASES // 2]
    seconds, limited = _send(scenario)
    return Confirmed(name, ideal, middle.over_ideal, seconds / ideal, middle.limited_share, limited / scenario.rows)


def _send(scenario: Scenario) -> tuple[float, int]:
    """Seconds of the command's sending phase, and how many 429s the service gave."""
    with tempfile.TemporaryDirectory() as folder, _service(scenario, Path(folder)) as (url, key):
        jobs = write_jobs(Path(folder) / "jobs.csv", scenario.rows)
        ended = subprocess.run(  # noqa: S603 - our own command
            [COMMAND, "run", jobs, "--endpoint", url, "--json", "--no-progress"],
            env=os.environ | {"SEAM_API_KEY": key},
            stdout=subprocess.PIPE,
            check=True,
        )
        with urllib.request.urlopen(f"{url}/_simulator/stats", timeout=10) as reply:  # noqa: S310 - loopback
            stats: Mapping[str, Any] = json.load(reply)
    limited = sum(workspace["limited"] for workspace in stats["workspaces"].values())
    return float(json.loads(ended.stdout)["sending_seconds"]), limited


@contextmanager
def _service(scenario: Scenario, folder: Path) -> Iterator[tuple[str, str]]:
    """The look-alike behind this scenario's limit: its URL and a key."""
    rate = scenario.rate
    settings = {
        "latency": {"median": scenario.round_trip - NETWORK, "sigma": scenario.spread},
        "limit": {
            "kind": KINDS[scenario.kind],
            "rate": rate.first,
            "burst": scenario.burst,
            "window": scenario.window,
            "concurrency": max(1, round(rate.first * scenario.round_trip)),
            "counts_rejects": scenario.rejects_count,
            "retry_after": scenario.retry_after,
            "steps": [{"at": rate.at + START, "rate": rate.second}] if rate.second != rate.first else [],
        },
        "log": "applied",
    }
    config = folder / "service.json"
    config.write_text(json.dumps(settings), encoding="utf-8")
    with subprocess.Popen(  # noqa: S603 - our own command
        [COMMAND, "simulate", "--config", config, "--end-with-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the look-alike has no pipes")
        ready = json.loads(process.stdout.readline())
        try:
            yield ready["url"], ready["api_key"]
        finally:
            process.stdin.close()
