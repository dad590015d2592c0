"""Sends what is open of a run, each part under a claim: the canary first, where one is wanted, then the rest.

first rows ─> claim ─> pipeline ─> all well? ─┬─ yes ─> claim ─> pipeline ─> end
                                              └─ no ──> stop, the rest pending
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from worker.control import Progress
from worker.execution import Execution
from worker.guards import RowGuard, judge_canary
from worker.ledger.ahead import fetch_first_rows
from worker.ledger.queries import count_by_workspace
from worker.pipeline import Pipeline
from worker.watching import tell_sending

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from worker.claim import Claim
    from worker.client import SeamClient
    from worker.hold import Hold
    from worker.ledger.runs import Run
    from worker.models import Outcome
    from worker.surroundings import Surroundings

__all__ = ["OpenRows"]


class OpenRows:
    """The rows of a run that are to be sent by one execution.

    Args:
        engine: the ledger.
        client: the service.
        run: as it was opened.
        around: settings, and who is told.
        before: rows with a result by now, by workspace and outcome.
        hold: what keeps others off the run.
        without: shards that are left alone.
    """

    def __init__(  # noqa: PLR0913 - what it joins
        self,
        engine: Engine,
        client: SeamClient,
        run: Run,
        around: Surroundings,
        *,
        before: Mapping[str | None, Counter[Outcome]],
        hold: Hold,
        without: frozenset[int] = frozenset(),
    ) -> None:
        self._engine = engine
        self._client = client
        self._run = run
        self._around = around
        self._before = before
        self._hold = hold
        self._without = without
        self._began = time.time()
        self._guard = RowGuard.of(around.settings.guards, run.rows)

    async def send(self) -> Execution:
        """Send them, until nothing is left or something stops it.

        Raises:
            LedgerHeldError: another process has taken the run.
            LedgerWriteError: the ledger could not be written; what was recorded is intact.
        """
        canary = self._around.settings.guards.canary
        if canary is None:
            return await self._send_part()
        first = await self._send_canary(canary)
        if first.stops:
            return first
        self._before = await asyncio.to_thread(count_by_workspace, self._engine, self._run.run_no)
        rest = await self._send_part()
        rest.add(first)
        return rest

    async def _send_canary(self, count: int) -> Execution:
        """The first rows alone, as far as they are open; stopped where they are not all well afterwards."""
        look = partial(fetch_first_rows, self._engine, self._run.run_no, count)
        rows = await asyncio.to_thread(look)
        execution = Execution()
        stop = judge_canary(rows)
        if stop is None and any(row.outcome is None for row in rows):
            execution = await self._send_part(through=rows[-1].row)
            rows = await asyncio.to_thread(look)
            # Where only workspaces stopped, not the run, a canary row without a result is why the rest stays.
            stop = judge_canary(rows, sent=all(each.workspace_id is not None for each in execution.stops))
        if stop is not None:
            execution.stops.append(stop)
        return execution

    async def _send_part(self, *, through: int | None = None) -> Execution:
        """Claim the run and send what is open of it, up to row `through`."""
        around, run = self._around, self._run
        claim, claimed = await self._hold.take(now=self._began, through=through, without=self._without)
        await self._let_lapse(claim)
        pipeline = Pipeline(
            claim,
            claimed,
            self._client,
            around.settings.sending,
            takeover_refused=run.mode.takeover_refused,
            include_codes=around.settings.output.include_codes,
            require_lease=claimed.require_lease,
            guard=self._guard,
            observers=around.observers,
            on_step=around.on_step,
        )
        around.control.forward_to(pipeline.stop)
        watching = asyncio.create_task(tell_sending(around.watch, pipeline, run.rows, self._before))
        try:
            return await pipeline.run()
        finally:
            watching.cancel()
            around.control.forward_to(None)

    async def _let_lapse(self, claim: Claim) -> None:
        """Give the last requests of a holder whose lease ran out the time in which they may still be executed."""
        around = self._around
        if claim.settles_in > 0:
            note = f"waiting {claim.settles_in:.0f} s for what the process before may still have under way"
            around.watch(Progress("sending", self._run.rows, 0, note=note))
            await around.control.sleep(claim.settles_in)
