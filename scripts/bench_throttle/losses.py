"""Where the time goes that our lane takes beyond the ideal, by what held it meanwhile.

Less than nothing is lost where more goes than the limit allows for long: a burst, or a window that is spent early, and
then a gate or a closed window takes it back.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench_throttle.engine import PATIENCE, Client, Simulation
from bench_throttle.evaluate import LONG, SHORT
from bench_throttle.scenarios import draw, ideal_time
from worker.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench_throttle.scenarios import Scenario

__all__ = ["HELD_BY", "Losses", "measure", "measure_all", "tabulate"]

HELD_BY = {
    "start": "until the first 429, less the burst that the ideal has too",
    "gate": "a Retry-After",
    "closed": "nothing was accepted, and one probe at a time asked",
    "caution": "just after a 429",
    "search": "a level that was a guess",
    "held": "a level that was known to be about right",
    "rising": "the same on its way up, to see whether the limit has risen",
    "crowd": "a cap on what is in flight",
    "window": "a long window that was spent at once",
    "outage": "an outage, beyond its own length",
}
"""What may hold a lane, and what that means."""


@dataclass(frozen=True)
class Losses:
    """The time taken, and the parts of it beyond the ideal, in times of the ideal; of several services, the means."""

    group: str
    services: int
    over_ideal: float
    parts: dict[str, float]
    """By what held the lane; together `over_ideal` - 1."""


class _Watched:
    """Our throttle, and what of the limit it left unused (seconds)."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._throttle = Throttle(max_in_flight=scenario.max_in_flight, rows=scenario.rows)
        self._at = 0.0
        self._held_by = "start"
        self.lost_s: defaultdict[str, float] = defaultdict(float)

    def wait(self, now: float, in_flight: int) -> float:
        """As the throttle's."""
        return self._throttle.wait(now, in_flight)

    def sent(self, now: float) -> None:
        """As the throttle's."""
        self._throttle.sent(now)

    def completed(self, now: float, sent_at: float) -> None:
        """So much of the limit was used as allows one row."""
        self._throttle.completed(now, sent_at)
        self._account(now, 1.0 / self._scenario.rate.value(now))

    def limited(self, now: float, sent_at: float, retry_after: float | None) -> None:
        """None was."""
        self._throttle.limited(now, sent_at, retry_after)
        self._account(now, 0.0)

    def lost(self, now: float, sent_at: float) -> None:
        """Likewise."""
        self._throttle.lost(now, sent_at)
        self._account(now, 0.0)

    def _account(self, now: float, used_s: float) -> None:
        """What went by since the last reply goes to what held the lane then."""
        outage = self._scenario.outage
        held_by = "outage" if outage and self._at <= outage.end and now >= outage.start else self._held_by
        self.lost_s[held_by] += now - self._at - used_s
        self._at = now
        self._held_by = self._look(now)

    def _look(self, now: float) -> str:
        limit = self._throttle._limit  # noqa: SLF001 - its modes are nobody else's business
        if limit is None:
            return "start"
        if now < self._throttle.paused_until:
            return "gate"
        if limit.quota is not None:
            return "window"
        if limit._closed:  # noqa: SLF001 - likewise
            return "closed"
        if now < limit._echo_until:  # noqa: SLF001 - likewise
            return "caution"
        if limit.crowd.cap != math.inf:
            return "crowd"
        if not limit.level.trusted:
            return "search"
        return "held" if now < limit.level.hold_end else "rising"


def measure(scenario: Scenario, group: str) -> Losses:
    """Play it, and account for every second."""
    ideal, outage = ideal_time(scenario), scenario.outage
    watched = _Watched(scenario)
    client = Client(watched, scenario.rows)
    Simulation(scenario, [client]).run(PATIENCE * ideal)
    finished = min(client.finished, PATIENCE * ideal)
    lost = watched.lost_s
    if outage:
        lost["outage"] -= max(0.0, min(outage.end, finished) - outage.start)
    lost["start"] += finished - ideal - sum(lost.values())
    return Losses(group, 1, finished / ideal, {name: lost[name] / ideal for name in HELD_BY})


def measure_all(seeds: Iterable[int]) -> list[Losses]:
    """The long and the short run of each seed."""
    losses = []
    for seed in seeds:
        scenario = draw(seed, lasting=LONG)
        losses.append(measure(scenario, _group(scenario)))
        losses.append(measure(draw(seed, lasting=SHORT, steady=True), "short runs"))
    return losses


def _group(scenario: Scenario) -> str:
    if scenario.rate.at != math.inf:
        return "limit moved by 4"
    if scenario.outage:
        return "outage"
    return f"{scenario.kind}{', Retry-After' if scenario.retry_after in {'seconds', 'date'} else ''}"


def tabulate(losses: list[Losses]) -> list[Losses]:
    """One for each group."""
    groups: defaultdict[str, list[Losses]] = defaultdict(list)
    for one in losses:
        groups[one.group].append(one)
    return [
        Losses(
            group,
            len(those),
            statistics.fmean(one.over_ideal for one in those),
            {name: statistics.fmean(one.parts[name] for one in those) for name in HELD_BY},
        )
        for group, those in sorted(groups.items())
    ]
