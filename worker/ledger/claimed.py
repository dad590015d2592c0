"""A claimed run as a pipeline sees it: rows to read, batches to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.ledger.claims import Batch, Claim, OpenRow, ShardWriter, fetch_details_due, fetch_fresh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from worker.models import Job

__all__ = ["ClaimedRun"]


class ClaimedRun:
    """The `ShardSource` of one claim, as far as row `through`, on connections of its own; close it at the end."""

    def __init__(self, engine: Engine, claim: Claim, *, through: int | None = None) -> None:
        self._engine = engine
        self._claim = claim
        self._through = through
        self._writer = ShardWriter(engine, claim)

    def fetch(self, shard: int, *, after_row: int, limit: int) -> Sequence[OpenRow]:
        """`ShardSource.fetch`."""
        claim = self._claim
        crowded = len(claim.shards) > 1
        fetched = fetch_fresh(
            self._engine,
            claim.run_no,
            shard,
            after_row=after_row,
            limit=limit,
            crowded=crowded,
            with_owners=claim.owners_read,
        )
        if self._through is None:
            return fetched
        return [opened for opened in fetched if opened.job.row <= self._through]

    def fetch_details_due(self, shard: int, *, after_row: int, limit: int) -> Sequence[Job]:
        """`ShardSource.fetch_details_due`."""
        return fetch_details_due(self._engine, self._claim.run_no, shard, after_row=after_row, limit=limit)

    def write(self, batch: Batch) -> None:
        """`ShardSource.write`."""
        self._writer.write(batch)

    def close(self) -> None:
        """Give the connections back."""
        self._writer.close()
