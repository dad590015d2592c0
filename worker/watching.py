"""Tells whoever watches a run how far it is, some ten times a second."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from worker.control import Progress
from worker.ledger.queries import NOWHERE
from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.pipeline import Pipeline
    from worker.survey import Survey

__all__ = ["tell_reading", "tell_sending", "tell_staging"]

INTERVAL: Final = 0.1
"""Seconds between two looks."""
_RATE_SPAN: Final = 50
"""Looks over which the present rate is taken: five seconds."""
_OPEN: Final = frozenset({Outcome.PENDING, Outcome.IN_DOUBT})


async def tell_staging(watch: Callable[[Progress], None], rows: Callable[[], int]) -> None:
    """Tell how many rows were read, until cancelled."""
    while True:
        watch(Progress("staging", None, rows()))
        await asyncio.sleep(INTERVAL)


async def tell_reading(watch: Callable[[Progress], None], survey: Survey) -> None:
    """Tell how many present owners were read, until cancelled."""
    while True:
        watch(Progress("reading", survey.total, survey.done, in_flight=survey.in_flight))
        await asyncio.sleep(INTERVAL)


async def tell_sending(
    watch: Callable[[Progress], None],
    pipeline: Pipeline,
    rows: int,
    before: Mapping[str | None, Mapping[Outcome, int]],
) -> None:
    """Tell what a pipeline has done, on top of what was done `before` in each workspace, until cancelled."""
    workspaces = {
        name: Counter({outcome: count for outcome, count in counts.items() if outcome not in _OPEN})
        for name, counts in before.items()
    }
    settled = sum(workspaces.values(), Counter[Outcome]())
    has_several = len(workspaces.keys() - {NOWHERE}) > 1
    for lane in pipeline.lanes:
        lane.outcomes.update(workspaces.get(lane.workspace_id, {}))
        workspaces[lane.workspace_id] = lane.outcomes
    looks: deque[tuple[float, int]] = deque(maxlen=_RATE_SPAN)
    while True:
        outcomes = settled + pipeline.execution.outcomes
        done = outcomes.total()
        looks.append((time.monotonic(), done))
        span = looks[-1][0] - looks[0][0]
        lanes = pipeline.lanes
        found = [lane.throttle.rate for lane in lanes if lane.throttle.rate is not None]
        watch(
            Progress(
                "sending",
                rows,
                done,
                outcomes,
                pipeline.in_flight,
                rate=(done - looks[0][1]) / span if span else 0.0,
                throttled=any(lane.throttle.throttled for lane in lanes),
                limit_rate=sum(found) if found else None,
                note=pipeline.trouble,
                workspaces=workspaces if has_several else {},
            )
        )
        await asyncio.sleep(INTERVAL)
