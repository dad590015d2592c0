"""Draws what the bench measured: python plots.py DOCUMENT.json DIR, in the venv that holds matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "assign-worker",  # the same figures give the same file
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.alpha": 0.3,
    }
)

import matplotlib.pyplot as plt  # noqa: E402 - after the backend is chosen

OURS: Final = "#1f6f8b"
OTHERS: Final = "#b8b8b8"
PARTS: Final = ("#1f6f8b", "#5aa9c4", "#99d1e0", "#e0a458", "#c8553d")


def save(figure: Any, path: Path) -> None:  # noqa: ANN401 - matplotlib has no types here
    """Write one SVG without its date."""
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def speed(document: dict[str, Any], folder: Path) -> None:
    """Rows per second by client, one panel a delay."""
    figure, axes = plt.subplots(1, len(document["speed"]), figsize=(9, 3), squeeze=False)
    for axis, (delay, found) in zip(axes[0], document["speed"].items(), strict=True):
        clients = found["clients"][::-1]
        names = [f"{client['name']} ({client['concurrency']})" for client in clients]
        colors = [OURS if client["name"].startswith("worker") else OTHERS for client in clients]
        drawn = axis.barh(names, [client["rate"] for client in clients], color=colors)
        axis.bar_label(drawn, [f"{client['rate']:,.0f}" for client in clients], padding=3, fontsize=8)
        axis.margins(x=0.18)
        axis.grid(axis="y", visible=False)
        axis.set_title(f"reply {delay}")
        axis.set_xlabel("rows per second, one core")
    save(figure, folder / "speed.svg")


def stages(document: dict[str, Any], folder: Path) -> None:
    """CPU per row by stage of a run, beside the bare loop."""
    layers, size = document["layers"], document["scale"]["sizes"][-1]
    steps = {
        "HTTP, validation": layers["client"],
        "pipeline": max(layers["pipeline"] - layers["client"], 0.0),
        "ledger": max(layers["ledger"] - layers["pipeline"], 0.0),
        "staging": size["staging_cpu_us"],
        "export": size["exporting_cpu_us"],
    }
    figure, axis = plt.subplots(figsize=(7, 2))
    axis.barh(["bare aiohttp loop"], [layers["bare aiohttp"]], color=OTHERS, label="HTTP, JSON decoded")
    left = 0.0
    for (name, cost), color in zip(steps.items(), PARTS, strict=True):
        axis.barh(["worker"], [cost], left=[left], color=color, label=name)
        left += cost
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("CPU microseconds per row")
    axis.legend(fontsize=7, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    save(figure, folder / "stages.svg")


def scale(document: dict[str, Any], folder: Path) -> None:
    """Time and memory by number of rows."""
    sizes = document["scale"]["sizes"]
    rows = [size["rows"] for size in sizes]
    figure, (times, memory) = plt.subplots(1, 2, figsize=(9, 3))
    for (name, label), color in zip(
        {
            "run_seconds": "run, start to exit",
            "export_seconds": "export",
            "check_seconds": "check",
            "resume_seconds": "resume, to its first request",
        }.items(),
        PARTS[::-1],
        strict=False,
    ):
        times.loglog(rows, [size[name] for size in sizes], marker="o", label=label, color=color)
    times.set_ylabel("seconds")
    times.legend(fontsize=7)
    for (name, label), color in zip(
        {
            "run_peak_mib": "run",
            "export_peak_mib": "export",
            "check_peak_mib": "check",
            "resume_peak_mib": "resume",
        }.items(),
        PARTS[::-1],
        strict=False,
    ):
        memory.semilogx(rows, [size[name] for size in sizes], marker="o", label=label, color=color)
    memory.axhline(120, color=OTHERS, linestyle="--", linewidth=1)
    memory.set_ylim(bottom=0)
    memory.set_ylabel("peak memory, MiB")
    memory.legend(fontsize=7)
    for axis in (times, memory):
        axis.set_xlabel("rows")
    save(figure, folder / "scale.svg")


def main() -> None:
    """Draw all of it."""
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = Path(sys.argv[2])
    for draw in (speed, stages, scale):
        draw(document, folder)


if __name__ == "__main__":
    main()
