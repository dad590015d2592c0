"""Figures beside the bars that they have to reach: pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from bench_speed.figures import table

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Goal", "as_json", "goals_table", "least", "most", "ratio"]


@dataclass(frozen=True)
class Goal:
    """One bar, and what was reached."""

    goal: str
    bar: float
    is_most: bool
    """Whether the figure may not be above the bar; else it may not be below."""
    reached: float

    @property
    def held(self) -> bool:
        """Whether it was reached."""
        return self.reached <= self.bar if self.is_most else self.reached >= self.bar


def least(goal: str, bar: float, reached: float) -> Goal:
    """One that the figure has to reach."""
    return Goal(goal, bar, is_most=False, reached=reached)


def most(goal: str, bar: float, reached: float) -> Goal:
    """One that the figure must not exceed."""
    return Goal(goal, bar, is_most=True, reached=reached)


def goals_table(goals: Sequence[Goal]) -> str:
    """All of them, a line each."""
    rows = [
        (goal.goal, "at most" if goal.is_most else "at least", goal.bar, goal.reached, "ok" if goal.held else "MISSED")
        for goal in goals
    ]
    return table(("goal", "", "bar", "reached", ""), rows)


def as_json(goals: Sequence[Goal]) -> list[dict[str, Any]]:
    """For the JSON document, with whether they were held."""
    return [asdict(goal) | {"held": goal.held} for goal in goals]


def ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """The median of the rounds' ratios, (figure, what it is measured by) each: a slow round slows both."""
    return median(figure / by for figure, by in pairs)
