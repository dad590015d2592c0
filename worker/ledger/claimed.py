"""A claimed run as a pipeline sees it: rows to read, batches to write, and whether it may still send."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING

from worker.leases import RENEWALS, Lease
from worker.ledger.claims import fetch_details_due, fetch_fresh
from worker.ledger.store import store_of
from worker.ledger.writing import ShardWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine

    from worker.claim import Batch, Claim, OpenRow
    from worker.models import Job

__all__ = ["ClaimedRun"]


class ClaimedRun:
    """The `ShardSource` of one claim, as far as row `through`, on connections of its own; close it at the end.

    Where the store has leases, a thread renews the claim's until then.
    """

    def __init__(self, engine: Engine, claim: Claim, *, through: int | None = None) -> None:
        self._engine = engine
        self._claim = claim
        self._through = through
        self._writer = ShardWriter(engine, claim)
        self._closed = threading.Event()
        self._renewing: threading.Thread | None = None
        self._taken_at = Lease.now()
        self._settles_in = claim.settles_in
        if claim.lease is not None:
            self._renewing = threading.Thread(target=self._renew, name="ledger-lease", daemon=True)
            self._renewing.start()

    @property
    def require_lease(self) -> Callable[[], None] | None:
        """To be called before each send; None where nobody can take the claim away."""
        return None if self._claim.lease is None else self._claim.lease.require

    def fetch(self, shard: int, *, after_row: int, limit: int) -> Sequence[OpenRow]:
        """`ShardSource.fetch`."""
        claim = self._claim
        crowded = len(claim.shards) > 1
        read = partial(
            fetch_fresh,
            self._engine,
            claim.run_no,
            shard,
            after_row=after_row,
            limit=limit,
            crowded=crowded,
            with_owners=claim.owners_read,
        )
        fetched = store_of(self._engine.dialect).persist(read, self._may_go_on)
        if self._through is None:
            return fetched
        return [opened for opened in fetched if opened.job.row <= self._through]

    def fetch_details_due(self, shard: int, *, after_row: int, limit: int) -> Sequence[Job]:
        """`ShardSource.fetch_details_due`."""
        read = partial(fetch_details_due, self._engine, self._claim.run_no, shard, after_row=after_row, limit=limit)
        return store_of(self._engine.dialect).persist(read, self._may_go_on)

    def write(self, batch: Batch) -> None:
        """`ShardSource.write`."""
        self._writer.write(batch)

    def cut_off(self, timeout: float) -> None:
        """Requests were given up that may still be executed, for so many seconds."""
        self._settles_in = max(self._settles_in, Lease.now() - self._taken_at + timeout)

    def _may_go_on(self) -> bool:
        return self._claim.lease is not None and self._claim.lease.holds()

    def _renew(self) -> None:
        """The lease's thread. A renewal that fails is told by the lease itself, to whoever sends or writes next."""
        lease = self._claim.lease
        while lease is not None and not self._closed.wait(lease.seconds / RENEWALS):
            with contextlib.suppress(Exception):
                self._writer.renew()

    def close(self) -> None:
        """Let others take the shards, and give the connections back."""
        self._closed.set()
        if self._renewing is not None:
            self._renewing.join()
            rest = self._settles_in - (Lease.now() - self._taken_at)
            with contextlib.suppress(Exception):  # then it runs out by itself
                self._writer.give_back(self._claim.server_time + self._settles_in if rest > 0 else 0.0)
        self._writer.close()
