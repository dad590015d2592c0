"""Transactions that are committed only while a claim holds: others would have to wait for their end to take it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import select

from worker.errors import FenceLostError
from worker.ledger.store import store_of
from worker.ledger.tables import shards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from worker.claim import Claim

__all__ = ["fenced", "require_held"]


@contextmanager
def fenced(engine: Engine, claim: Claim | None) -> Iterator[Connection]:
    """A transaction under a claim; None: nobody can take the run away.

    Raises:
        FenceLostError: it may be gone; nothing was written.
    """
    with engine.begin() as connection:
        yield connection
        # At the end: a renewal would wait for it, and the lease run out, where the transaction takes long.
        if claim is not None:
            require_held(connection, claim)


def require_held(connection: Connection, claim: Claim) -> None:
    """See that a claim holds, and has all the time: where its lease ran out, another run may have had its workspace.

    Raises:
        FenceLostError: it may not have.
    """
    if claim.lease is None:
        return
    unexpired = (
        select(shards.c.shard, shards.c.epoch)
        .where(shards.c.run_no == claim.run_no, shards.c.lease_until > store_of(connection.dialect).clock())
        .order_by(shards.c.shard)  # in one order, so that no two processes wait for each other
        .with_for_update()
    )
    held = {found.shard: found.epoch for found in connection.execute(unexpired)}
    if any(held.get(taken.shard) != taken.epoch for taken in claim.shards):
        raise FenceLostError(
            "this process was stopped or cut off for so long that others may have had the run or its workspaces, so "
            "what it had read may not be so any more; nothing was sent since. The same command goes on from here"
        )
