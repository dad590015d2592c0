"""What keeps others off a run while this process works on it: one claim after the other, without a gap between."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from worker.ledger import holder
from worker.ledger.claimed import ClaimedRun
from worker.ledger.claims import claim_run, hold_run
from worker.ledger.store import store_of

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Engine

    from worker.claim import Claim

__all__ = ["Hold"]


class Hold:
    """From before the owners of a run's credentials are read until its end is noted.

    What is read and decided before the sending is for one process. Where the store has no leases the lock on the
    file sees to that, and there is no claim before the first `take`.

    Args:
        engine: the ledger.
        run_no: the run.
        timeout: seconds that a request may last.

    Raises:
        LedgerHeldError: on entry, another process has the run or works on its workspaces.
    """

    def __init__(self, engine: Engine, run_no: int, *, timeout: float) -> None:
        self._engine = engine
        self._run_no = run_no
        self._timeout = timeout
        self._holder = holder(timeout=timeout)
        self._claimed: ClaimedRun | None = None
        self.claim: Claim | None = None
        """As it is held now; None: nobody can take the run away."""

    async def __aenter__(self) -> Self:
        """Keep others off; the run has not begun by that."""
        if store_of(self._engine.dialect).has_leases:
            claim = await asyncio.to_thread(hold_run, self._engine, self._run_no, holder=self._holder)
            self._claimed = await asyncio.to_thread(ClaimedRun, self._engine, claim)
            self.claim = claim
        return self

    async def take(
        self, *, now: float, through: int | None = None, without: frozenset[int] = frozenset()
    ) -> tuple[Claim, ClaimedRun]:
        """Claim the run for sending, up to row `through` and but for some shards; what was held before ends with it.

        Raises:
            FenceLostError: others may have had the run, or its workspaces, since it is held.
            LedgerHeldError: another process has taken it.
        """
        claim = await asyncio.to_thread(
            claim_run,
            self._engine,
            self._run_no,
            holder=self._holder,
            now=now,
            through=through,
            after=self.claim,
        )
        claim = replace(claim, shards=tuple(shard for shard in claim.shards if shard.shard not in without))
        await self._close()
        self._claimed = await asyncio.to_thread(ClaimedRun, self._engine, claim, through=through)
        if claim.lease is not None:
            self.claim = claim
        return claim, self._claimed

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let others have it."""
        if self._claimed is not None and isinstance(error, asyncio.CancelledError):
            self._claimed.cut_off(self._timeout)
        await self._close()

    async def _close(self) -> None:
        claimed, self._claimed = self._claimed, None
        if claimed is not None:
            await asyncio.to_thread(claimed.close)
