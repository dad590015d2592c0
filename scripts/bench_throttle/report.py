"""The command: one table, one JSON, and whether each bar is reached."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench_speed.processes import PEERS_PYTHON

from bench_throttle import evaluate, losses, traces
from bench_throttle.evaluate import OURS, SCHEMES, TOLD, Outcome, Summary, as_json, summarise
from bench_throttle.real import SCENARIOS, confirm
from bench_throttle.scenarios import EVALUATION_SEED, TUNING_SEED

BARS = {
    "long runs, time median": ("time_median", 1.05),
    "long runs, time p95": ("time_p95", 1.15),
    "long runs, time worst": ("time_worst", 1.5),
    "429s, median": ("limited_median", 0.03),
    "429s, worst": ("limited_worst", 0.10),
    "requests inside a Retry-After": ("violations", 0.0),
}
SHORT_MEDIAN = 1.5
RAMP = 1.0
PUSH = 2.0
FAIR = 0.5
CONFIRMED = 1.5
"""What real sockets may take in times of the virtual clock's: timers are late, and a machine is busy."""


def main(argv: list[str] | None = None) -> int:
    """Evaluate and print; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="bench --throttle", description=__doc__)
    parser.add_argument("--scenarios", type=int, default=200, help="long scenarios for our own scheme")
    parser.add_argument("--rivals", type=int, default=40, help="how many of them the rivals play too")
    parser.add_argument("--fair", type=int, default=20, help="scenarios shared by 2 and by 4 workers")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--tuning", action="store_true", help="the seeds that the constants were tuned on")
    parser.add_argument("--json", metavar="FILE", help="write the JSON there instead of stdout's end")
    parser.add_argument("--plots", metavar="DIR", help="draw rate against limit, and times by scheme, as SVG")
    parser.add_argument("--real", action="store_true", help="confirm the virtual clock over real sockets (minutes)")
    options = parser.parse_args(argv)
    if options.real:
        return 0 if print_real(options.json) else 1
    begin = time.perf_counter()
    first = TUNING_SEED if options.tuning else EVALUATION_SEED
    rivals = [name for name in SCHEMES if name not in {OURS, TOLD}]
    with ProcessPoolExecutor(options.processes) as pool:
        jobs: list[tuple[str, Any]] = []
        for start in range(0, options.scenarios, 10):
            seeds = range(first + start, first + min(start + 10, options.scenarios))
            jobs.append(("long", pool.submit(evaluate.play_all, seeds, [OURS, TOLD])))
            jobs.append(("short", pool.submit(evaluate.play_all, seeds, [OURS, TOLD], short=True)))
        for start in range(0, options.rivals, 10):
            seeds = range(first + start, first + min(start + 10, options.rivals))
            jobs.append(("long", pool.submit(evaluate.play_all, seeds, rivals)))
            jobs.append(("short", pool.submit(evaluate.play_all, seeds, rivals, short=True)))
        watched = [
            pool.submit(losses.measure_all, range(first + start, first + min(start + 10, options.scenarios)))
            for start in range(0, options.scenarios, 10)
        ]
        long_runs: dict[str, list[Outcome]] = {name: [] for name in SCHEMES}
        short_runs: dict[str, list[Outcome]] = {name: [] for name in SCHEMES}
        for which, job in jobs:
            for name, outcomes in job.result().items():
                (long_runs if which == "long" else short_runs)[name].extend(outcomes)
        lost = losses.tabulate([one for job in watched for one in job.result()])
    report: dict[str, Any] = {
        "schemes": {
            name: _judge(name, first, summarise(long_runs[name]), summarise(short_runs[name]), options.fair)
            for name in SCHEMES
            if long_runs[name]
        }
    }
    same = [outcome for outcome in long_runs[OURS] if outcome.seed < first + options.rivals]
    report["throttle_on_the_rivals_scenarios"] = as_json(summarise(same)) if same else None
    report["bars"] = bars(report["schemes"][OURS], summarise(long_runs[OURS]))
    report["worst"] = [
        {"seed": o.seed, "kind": o.kind, "time": round(o.over_ideal, 3), "limited": round(o.limited_share, 3)}
        for o in sorted(long_runs[OURS], key=lambda o: -o.over_ideal)[:10]
    ]
    together = {name: [o for o in runs if o.seed < first + options.rivals] for name, runs in long_runs.items()}
    report["times"] = {name: sorted(round(o.over_ideal, 4) for o in runs) for name, runs in together.items()}
    report["lost"] = [asdict(row) for row in lost]
    report["seconds"] = round(time.perf_counter() - begin, 1)
    print_table(report)
    print_losses(lost)
    text = json.dumps(report, indent=1)
    if options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    if options.plots:
        draw_plots(report, Path(options.plots))
    return 0 if all(bar["reached"] for bar in report["bars"].values()) else 1


def _judge(name: str, first: int, long_run: Summary, short_run: Summary, count: int) -> dict[str, Any]:
    """All that is told of a scheme; `count` scenarios from seed `first` on are shared by several of ours."""
    told: dict[str, Any] = {"long": as_json(long_run), "short": as_json(short_run)}
    if name == TOLD:  # a lane alone
        return told
    make = SCHEMES[name]
    count = count if name == OURS else min(count, 4)
    fair = {
        str(workers): sorted(evaluate.fair_share(first + n, workers, make) for n in range(count)) for workers in (2, 4)
    }
    return told | {
        "ramp_s": round(evaluate.ramp_time(make), 3),
        "pushed": round(max(evaluate.push(make, first + n) for n in range(count)), 2),
        "fair_worst": {workers: round(shares[0], 3) for workers, shares in fair.items()},
        "fair_median": {workers: round(statistics.median(shares), 3) for workers, shares in fair.items()},
    }


def print_real(file: str | None) -> bool:
    """Each real scenario beside its virtual twin; whether none took half as long again as foretold."""
    print(f"{'':36}{'ideal s':>9}{'virtual':>9}{'real':>8}{'429 virtual':>13}{'real':>8}")
    found = []
    for name, scenario in SCENARIOS.items():
        one = confirm(name, scenario)
        found.append(one)
        print(
            f"{name:36}{one.ideal:9.1f}{one.virtual:9.3f}{one.real:8.3f}{one.virtual_limited:13.4f}"
            f"{one.real_limited:8.4f}",
            flush=True,
        )
    if file:
        Path(file).write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")
    return all(one.real < CONFIRMED * one.virtual for one in found)


def draw_plots(report: dict[str, Any], folder: Path) -> None:
    """By matplotlib, which is installed beside the other clients only."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"times": report["times"], "traces": [asdict(trace) for trace in traces.trace_all()]}
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        script = Path(__file__).with_name("plots.py")
        subprocess.run([PEERS_PYTHON, script, file.name, folder], check=True)  # noqa: S603 - our own script


def bars(ours: dict[str, Any], long_run: Summary) -> dict[str, dict[str, Any]]:
    """Each bar with what was measured."""
    measured = {name: (getattr(long_run, field), bar) for name, (field, bar) in BARS.items()}
    measured["short runs, time median"] = (ours["short"]["time_median"], SHORT_MEDIAN)
    measured["no limit, seconds to 90 %"] = (ours["ramp_s"], RAMP)
    measured["slowing service, in flight over its knee"] = (ours["pushed"], PUSH)
    result = {
        name: {"measured": round(value, 4), "bar": bar, "reached": value <= bar}
        for name, (value, bar) in measured.items()
    }
    for workers, share in ours["fair_worst"].items():
        result[f"smallest of {workers} workers, of its fair share"] = {
            "measured": share,
            "bar": FAIR,
            "reached": share >= FAIR,
        }
    return result


def print_table(report: dict[str, Any]) -> None:
    """The schemes side by side, then the bars."""
    head = ("scheme", "time med", "p95", "worst", "429 med", "worst", "short", "ramp s", "push", "fair 2", "fair 4")
    print("{:20}{:>6}{:>9}{:>8}{:>8}{:>9}{:>8}{:>8}{:>8}{:>7}{:>8}{:>8}".format(head[0], "n", *head[1:]))
    for name, row in report["schemes"].items():
        long_run = row["long"]
        print(
            f"{name:20}{long_run['scenarios']:6}{long_run['time_median']:9.3f}{long_run['time_p95']:8.3f}"
            f"{long_run['time_worst']:8.2f}{long_run['limited_median']:9.4f}{long_run['limited_worst']:8.3f}"
            f"{row['short']['time_median']:8.2f}",
            end="\n" if name == TOLD else "",
        )
        if name != TOLD:
            print(f"{row['ramp_s']:8.3f}{row['pushed']:7.2f}{row['fair_worst']['2']:8.2f}{row['fair_worst']['4']:8.2f}")
    for name, bar in report["bars"].items():
        print(f"{'ok  ' if bar['reached'] else 'MISS'} {name}: {bar['measured']:g} (bar {bar['bar']:g})")


def print_losses(rows: list[losses.Losses]) -> None:
    """What stands between our lane and the ideal."""
    print(f"\n{'lost, % of the ideal':22}{'n':>4}{'time':>8}" + "".join(f"{name:>8}" for name in losses.HELD_BY))
    for row in rows:
        parts = "".join(f"{100 * part:8.1f}" for part in row.parts.values())
        print(f"{row.group:22}{row.services:4}{row.over_ideal:8.3f}{parts}")
    for name, meaning in losses.HELD_BY.items():
        print(f"  {name}: {meaning}")


if __name__ == "__main__":
    sys.exit(main())
