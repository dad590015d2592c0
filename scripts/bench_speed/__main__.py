"""The command: `scripts/bench`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench_speed import figures, layers, scale, workspaces
from bench_speed.contest import DELAYS, Effort, compete
from bench_speed.figures import Bar, table
from bench_speed.processes import HERE, PEERS_PYTHON

QUICK: Final = Effort(rounds=3, worker_rows=100_000, bare_requests=20_000, slow_requests=1_000)
FULL: Final = Effort(rounds=5, worker_rows=100_000, bare_requests=100_000, slow_requests=5_000)
QUICK_SIZES: Final = (10_000, 30_000, 100_000)
FULL_SIZES: Final = (10_000, 100_000, 1_000_000)
SDK_MULTIPLE: Final = {"at once": 4.5, "after 20 ms": 5.0}


def main() -> int:
    """Measure what was asked for; print tables, then one JSON document; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="What a row costs, beside other clients.")
    parser.add_argument("--full", action="store_true", help="more requests and rounds; --scale to 1 000 000 rows")
    parser.add_argument("--scale", action="store_true", help="memory, resume, check and export by number of rows")
    parser.add_argument("--workspaces", action="store_true", help="1 000 workspaces beside one; a part of --scale")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw speed and scale as SVG")
    wanted = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:  # noqa: PLR2004 - one for the clients, one for the service
        parser.error("two cores are needed")
    document: dict[str, Any] = {"machine": _machine(), "full": wanted.full}
    held = True
    if not (wanted.scale or wanted.workspaces) or wanted.plots:
        held &= _speed(document, FULL if wanted.full else QUICK)
    if wanted.scale or wanted.plots:
        held &= _scale(document, FULL_SIZES if wanted.full else QUICK_SIZES)
    if wanted.scale or wanted.workspaces:
        held &= _workspaces(document, rounds=5 if wanted.full else 3)
    if wanted.plots:
        document["layers"] = layers.measure(rows=20_000 if wanted.full else 5_000, rounds=3)
        _draw(document, wanted.plots)
    print(json.dumps(document))
    return 0 if held else 1


def _machine() -> dict[str, str | int | None]:
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _speed(document: dict[str, Any], effort: Effort) -> bool:
    held = True
    document["speed"] = {}
    by_delay = {}
    for name, delay in DELAYS.items():
        found = by_delay[name] = sorted(compete(delay, effort), key=lambda entry: -entry.rate)
        bars = figures.bars(found, sdk_multiple=SDK_MULTIPLE[name])
        head = ("client", "in flight", "rows/s", "of bare", "CPU µs/row", "of bare", "peak MiB")
        rows = [
            (one.name, one.concurrency, one.rate, one.of_bare, one.cpu_us, one.cpu_of_bare, one.peak_mib)
            for one in found
        ]
        print(f"\nReply {name}\n{table(head, rows)}\n")
        held &= _tell(bars)
        document["speed"][name] = {"clients": figures.as_json(found), "goals": figures.as_json(bars)}
    about = f"{effort.worker_rows:,} rows, {os.cpu_count()} cores, medians of {effort.rounds}".replace(",", " ", 1)
    print(f"\nFor the README:\n{figures.markdown(by_delay, about=about)}\n")
    return held


def _scale(document: dict[str, Any], sizes: tuple[int, ...]) -> bool:
    scales = [scale.measure(rows) for rows in sizes]
    starts = scale.start_seconds()
    grows = scale.grows(scales)
    head = ("", *(f"{one.rows:,} rows" for one in scales), "grows as rows^")
    rows = [(name, *(getattr(one, name) for one in scales), grows[name]) for name in scale.MEASURES]
    print(f"\n{table(head, rows)}\n")
    bars = scale.scale_bars(scales, starts)
    held = _tell(bars)
    document["scale"] = {
        "sizes": scale.as_json(scales),
        "grows": grows,
        "start_seconds": starts,
        "goals": figures.as_json(bars),
    }
    return held


def _workspaces(document: dict[str, Any], rounds: int) -> bool:
    fleet = workspaces.measure(rounds)
    bars = workspaces.bars(fleet)
    head = ("workspaces", "rows", "s alone", "s", "times as long", "times the CPU")
    told = (str(fleet.workspaces), fleet.rows, fleet.seconds_alone, fleet.seconds, fleet.of_alone, fleet.cpu_of_alone)
    print(f"\n{table(head, [told])}\n")
    document["workspaces"] = asdict(fleet) | {"goals": figures.as_json(bars)}
    return _tell(bars)


def _tell(bars: list[Bar]) -> bool:
    print(
        table(
            ("goal", "at least", "reached", ""),
            [(b.goal, b.least, b.reached, "ok" if b.held else "MISSED") for b in bars],
        )
    )
    return all(bar.held for bar in bars)


def _draw(document: dict[str, Any], folder: Path) -> None:
    """By matplotlib, which is installed beside the other clients only."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        subprocess.run([PEERS_PYTHON, HERE / "plots.py", file.name, folder], check=True)  # noqa: S603 - our own script


if __name__ == "__main__":
    sys.exit(main())
