"""Draws the throttle: python plots.py DOCUMENT.json DIR, in the venv that holds matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench_speed.plots import OTHERS, OURS, PARTS, plt, save

plt.rcParams["svg.fonttype"] = "none"  # text stays text, and the files small

SCHEME: Final = "throttle"
LONGEST: Final = 4.0
"""Times of the ideal that are shown; some schemes take longer."""


def rates(document: dict[str, Any], folder: Path) -> None:
    """Accepted and sent requests a second against the limit, one panel a service."""
    traces = document["traces"]
    figure, axes = plt.subplots(1, len(traces), figsize=(9, 2.8), squeeze=False)
    for axis, trace in zip(axes[0], traces, strict=True):
        seconds = range(len(trace["limit"]))
        axis.step(seconds, trace["limit"], color=OTHERS, linewidth=3, where="post", label="limit")
        axis.step(seconds, trace["sent"], color=PARTS[4], linewidth=0.8, where="post", label="sent")
        axis.step(seconds, trace["accepted"], color=OURS, linewidth=1.2, where="post", label="accepted")
        axis.set_title(trace["name"], fontsize=8)
        axis.set_xlabel("seconds")
        axis.set_ylim(bottom=0)
    axes[0][0].set_ylabel("requests per second")
    axes[0][0].legend(fontsize=7, frameon=False)
    save(figure, folder / "throttle-rate.svg")


def times(document: dict[str, Any], folder: Path) -> None:
    """The share of services by which a scheme has finished, over times of the ideal."""
    figure, axis = plt.subplots(figsize=(6, 2.8))
    grays = iter(("#8c8c8c", "#a8a8a8", "#c4c4c4", "#707070", "#303030"))
    styles = iter(("-", "--", "-.", ":", (0, (1, 1))))
    for name, found in document["times"].items():
        share = [(place + 1) / len(found) for place in range(len(found))]
        look = (
            {"color": OURS, "linewidth": 2.0}
            if name == SCHEME
            else {"color": next(grays), "linewidth": 1.2, "linestyle": next(styles)}
        )
        axis.step([1.0, *found], [0.0, *share], where="post", label=name, **look)
    axis.set_xlim(1.0, LONGEST)
    axis.set_ylim(0.0, 1.0)
    axis.set_xlabel("time, in times of an all-knowing client's")
    axis.set_ylabel("share of services")
    axis.legend(fontsize=7, frameon=False, loc="lower right")
    save(figure, folder / "throttle-times.svg")


def main() -> None:
    """Draw all of it."""
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for draw in (rates, times):
        draw(document, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
