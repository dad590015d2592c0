"""Who else works on a run, or on its workspaces, by the leases in the ledger (DESIGN 6, 11.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select, true

from worker.errors import LedgerHeldError
from worker.ledger.holders import describe, is_dead
from worker.ledger.store import store_of
from worker.ledger.tables import runs, shards

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine, Row

__all__ = ["refuse_held", "require_free"]


def require_free(engine: Engine, run_no: int, *, holder: str) -> None:
    """See early that the run can be claimed; the claim itself sees it for good.

    Raises:
        LedgerHeldError: as `refuse_held`.
    """
    with engine.connect() as connection:
        refuse_held(connection, run_no, holder=holder)


def refuse_held(
    connection: Connection, run_no: int, numbers: Sequence[int] | None = None, *, holder: str
) -> float | None:
    """See that no live process but `holder` has these shards (all for None), or works on their workspaces.

    On SQLite the lock on the file has seen to it.

    Returns:
        Seconds since the latest lease on them ran out whose holder may have lived until then; None without any.

    Raises:
        LedgerHeldError: one has; the message names it.
    """
    store = store_of(connection.dialect)
    if not store.has_leases:
        return None
    now = store.clock()
    whose = func.coalesce(shards.c.workspace_id, runs.c.workspace_id).label("workspace")
    here = select(runs.c.endpoint).where(runs.c.run_no == run_no).scalar_subquery()
    leased = connection.execute(
        select(
            shards.c.run_no,
            shards.c.shard,
            shards.c.holder,
            (shards.c.lease_until - now).label("left"),
            whose,
            runs.c.id,
        )
        .join(runs, runs.c.run_no == shards.c.run_no)
        .where(runs.c.endpoint == here, shards.c.lease_until.is_not(None), runs.c.state == "open")
    ).all()
    if not leased:
        return None
    mine = and_(shards.c.run_no == run_no, true() if numbers is None else shards.c.shard.in_(numbers))
    wanted = {
        workspace
        for (workspace,) in connection.execute(
            select(whose).join(runs, runs.c.run_no == shards.c.run_no).where(mine).distinct()
        )
    }

    def is_ours(row: Row[*tuple[Any, ...]]) -> bool:
        return bool(row.run_no == run_no and (numbers is None or row.shard in numbers))

    for row in leased:
        if row.left <= 0 or row.holder == holder or is_dead(row.holder):
            continue
        if is_ours(row):
            raise LedgerHeldError(
                f"another run works on this ({describe(row.holder)}); wait for it to end, or stop it with SIGTERM. "
                f"If it is gone, its hold ends within {row.left:.0f} s"
            )
        if None in {row.workspace, *wanted} or row.workspace in wanted:
            raise LedgerHeldError(
                f"run {row.id} works on the same workspace ({describe(row.holder)}); wait for it to end, or stop it "
                f"with SIGTERM. If it is gone, its hold ends within {row.left:.0f} s"
            )
    lapsed = [-row.left for row in leased if is_ours(row) and row.left <= 0 and not is_dead(row.holder)]
    return min(lapsed, default=None)
