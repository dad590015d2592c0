"""From single measurements to medians, ratios and a table: pure."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Bar",
    "Figures",
    "Sample",
    "bars",
    "best_concurrency",
    "drawn_out",
    "growth",
    "markdown",
    "summarize",
    "table",
]


@dataclass(frozen=True)
class Sample:
    """One measurement of one client."""

    rate: float
    """Requests/s, or rows/s."""
    cpu_us: float
    """CPU microseconds per row."""
    peak_mib: float


@dataclass(frozen=True)
class Figures:
    """One client's medians at its best concurrency."""

    name: str
    concurrency: int
    rate: float
    cpu_us: float
    peak_mib: float
    of_bare: float
    """Its rate as a share of the bare loop's."""
    cpu_of_bare: float
    """Its CPU per row as a multiple of the bare loop's."""


@dataclass(frozen=True)
class Bar:
    """One goal and what was reached."""

    goal: str
    least: float
    reached: float

    @property
    def held(self) -> bool:
        """Whether it was reached."""
        return self.reached >= self.least


def best_concurrency(rates: Mapping[int, float]) -> int:
    """The concurrency with the highest rate; the lower one of two that are equal."""
    return max(sorted(rates), key=lambda concurrency: rates[concurrency])


def summarize(samples: Mapping[str, Sequence[Sample]], concurrencies: Mapping[str, int], *, bare: str) -> list[Figures]:
    """Medians of each client, and its ratios to the bare loop of the same round, as medians too.

    Args:
        samples: by client, one sample a round, all in the same order of rounds.
        concurrencies: by client.
        bare: the client that is the measure.
    """
    found = []
    for name, own in samples.items():
        pairs = list(zip(own, samples[bare], strict=True))
        found.append(
            Figures(
                name,
                concurrencies[name],
                median(sample.rate for sample in own),
                median(sample.cpu_us for sample in own),
                median(sample.peak_mib for sample in own),
                median(sample.rate / against.rate for sample, against in pairs),
                median(sample.cpu_us / against.cpu_us for sample, against in pairs),
            )
        )
    return found


def bars(figures: Sequence[Figures], *, sdk_multiple: float) -> list[Bar]:
    """The goals of one delay: `sending` and `whole` against the bare loop, and against the official SDK at its best."""
    by_name = {entry.name: entry for entry in figures}
    sdk = max(by_name["AsyncSeam"].rate, by_name["seam in threads"].rate)
    return [
        Bar("sending phase, of the bare loop", 0.85, by_name["worker, sending"].of_bare),
        Bar("sending phase, times the official SDK's best", sdk_multiple, by_name["worker, sending"].rate / sdk),
        Bar("whole command, of the bare loop", 0.65, by_name["worker, whole command"].of_bare),
    ]


def markdown(found: Mapping[str, Sequence[Figures]], *, about: str) -> str:
    """The README's table: what the worker reached, a column for each delay.

    Args:
        found: by delay.
        about: rows, cores and rounds, for the head.
    """
    columns = []
    for figures in found.values():
        by_name = {entry.name: entry for entry in figures}
        sending, whole = by_name["worker, sending"], by_name["worker, whole command"]
        sdk = max(by_name["AsyncSeam"].rate, by_name["seam in threads"].rate)
        columns.append(
            {
                "sending phase, rows/s beside the bare aiohttp loop": f"{sending.of_bare:.2f}",
                "whole command, start to exit, beside that loop": f"{whole.of_bare:.2f}",
                "sending phase beside the official SDK at its best": f"{sending.rate / sdk:.1f}",
                "CPU per row, sending phase beside the bare loop": f"{sending.cpu_of_bare:.2f}",
                "CPU per row, whole command beside the bare loop": f"{whole.cpu_of_bare:.2f}",
                "peak memory, MiB": f"{whole.peak_mib:.0f}",
            }
        )
    head = [f"| {' | '.join((about, *(f'reply {delay}' for delay in found)))} |", "|---" * (1 + len(found)) + "|"]
    return "\n".join(head + [f"| {' | '.join((name, *(each[name] for each in columns)))} |" for name in columns[0]])


def growth(small: tuple[float, float], large: tuple[float, float]) -> float:
    """How a figure grows between (rows, figure) and (rows, figure): 0 is flat, 1 is linear, 2 is square."""
    return math.log(large[1] / small[1]) / math.log(large[0] / small[0])


def drawn_out(rows: tuple[int, int], wanted: int, figures: tuple[float, float]) -> float:
    """The figure for `wanted` rows on the straight line through two measured ones, at `rows`; it does not fall."""
    slope = max(figures[1] - figures[0], 0.0) / (rows[1] - rows[0])
    return figures[1] + slope * (wanted - rows[1])


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns aligned: the first to the left, the others to the right."""
    lines = [[_cell(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits tell enough
    return str(value)


def as_json(entries: Sequence[Figures | Bar]) -> list[dict[str, Any]]:
    """For the JSON document; bars with whether they were held."""
    return [asdict(entry) | ({"held": entry.held} if isinstance(entry, Bar) else {}) for entry in entries]
