"""The worker and the other clients, each at its best concurrency, in alternation."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench_speed.figures import Figures, Sample, best_concurrency, summarize
from bench_speed.jobs import write_jobs
from bench_speed.processes import HERE, PEERS_PYTHON, WORKER_PYTHON, run, serving

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BARE", "DELAYS", "Effort", "compete"]

BARE: Final = "bare aiohttp"
SENDING: Final = "worker, sending"
WHOLE: Final = "worker, whole command"
DELAYS: Final = {"at once": 0.0, "after 20 ms": 0.020}


@dataclass(frozen=True)
class Effort:
    """How long to look."""

    rounds: int
    worker_rows: int
    bare_requests: int
    slow_requests: int
    """Of httpx and the SDK."""


@dataclass(frozen=True)
class _Peer:
    script: str
    python: Path
    concurrencies: Mapping[float, tuple[int, ...]]
    """By delay: those that are tried."""
    is_slow: bool = True


_PEERS: Final = {
    BARE: _Peer("bare_aiohttp.py", WORKER_PYTHON, {0.0: (16, 32, 64, 128), 0.020: (64, 128, 256, 512)}, is_slow=False),
    "httpx": _Peer("httpx_gather.py", PEERS_PYTHON, {0.0: (4, 8, 32), 0.020: (8, 32, 64)}),
    "AsyncSeam": _Peer("async_seam.py", PEERS_PYTHON, {0.0: (4, 8, 64), 0.020: (8, 32, 64)}),
    "seam in threads": _Peer("seam_threads.py", PEERS_PYTHON, {0.0: (1, 4, 16), 0.020: (16, 32, 64)}),
}
_WORKER_CONCURRENCY: Final = 256
"""Its default: the throttle finds its own way below it."""


def compete(delay: float, effort: Effort) -> list[Figures]:
    """Measure everybody against a service that replies after `delay` seconds."""
    with serving(delay) as service, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        chosen = {name: _choose(peer, service.url, delay, effort) for name, peer in _PEERS.items()}
        jobs = write_jobs(Path(folder) / "jobs.csv", effort.worker_rows)
        samples: dict[str, list[Sample]] = {name: [] for name in (SENDING, WHOLE, *_PEERS)}
        for number in range(1, effort.rounds + 1):
            _say(f"round {number} of {effort.rounds}")
            sending, whole = _worker(jobs, service.url, effort.worker_rows)
            samples[SENDING].append(sending)
            samples[WHOLE].append(whole)
            for name, peer in _PEERS.items():
                samples[name].append(_peer(peer, service.url, chosen[name], effort))
    concurrencies = {**chosen, SENDING: _WORKER_CONCURRENCY, WHOLE: _WORKER_CONCURRENCY}
    return summarize(samples, concurrencies, bare=BARE)


def _choose(peer: _Peer, url: str, delay: float, effort: Effort) -> int:
    rates = {tried: _peer(peer, url, tried, effort).rate for tried in peer.concurrencies[delay]}
    best = best_concurrency(rates)
    _say(f"{peer.script}: best with {best} in flight of {', '.join(map(str, rates))}")
    return best


def _peer(peer: _Peer, url: str, concurrency: int, effort: Effort) -> Sample:
    requests = effort.slow_requests if peer.is_slow else effort.bare_requests
    found = run([peer.python, HERE / "peers" / peer.script, url, requests, concurrency]).json()
    return Sample(requests / found["seconds"], found["cpu_seconds"] / requests * 1e6, found["peak_mib"])


def _worker(jobs: Path, url: str, rows: int) -> tuple[Sample, Sample]:
    """One run of the command in a fresh folder: over its sending phase, and from start to exit."""
    with tempfile.TemporaryDirectory(prefix="bench-run-") as folder:
        places = ["--ledger", f"{folder}/ledger.db", "--results", f"{folder}/results.csv"]
        ended = run([WORKER_PYTHON, HERE / "phases.py", "run", jobs, "--endpoint", url, "--json", *places])
        report = ended.json()
    if report["outcomes"]["assigned"] != rows:
        raise RuntimeError(f"the worker assigned {report['outcomes']} of {rows} rows")
    phases = report["phases"]
    return (
        Sample(rows / report["sending_seconds"], phases["sending"]["cpu_seconds"] / rows * 1e6, ended.peak_mib),
        Sample(rows / ended.seconds, ended.cpu_seconds / rows * 1e6, ended.peak_mib),
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
