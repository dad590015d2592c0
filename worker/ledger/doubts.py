"""Every open row of a run in doubt, where the ledger itself is not to be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, insert, literal, select

from worker.ledger.store import store_of
from worker.ledger.tables import inputs, results, unsettled

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["doubt_open_rows", "doubt_rows"]


def doubt_open_rows(engine: Engine, run_no: int) -> int:
    """Have every row without a result read back before it is sent; how many.

    For a ledger that was restored from a backup: its marks are older than what was sent (DESIGN 11.8).
    """
    with engine.begin() as connection:
        return doubt_rows(connection, run_no)


def doubt_rows(connection: Connection, run_no: int) -> int:
    """`doubt_open_rows`, within a transaction."""
    connection.execute(unsettled.delete().where(unsettled.c.run_no == run_no))
    done = connection.execute(
        insert(unsettled)
        .from_select(
            ["run_no", "row", "maybe_applied", "attempts"],
            select(inputs.c.run_no, inputs.c.row, literal(True), literal(0))  # noqa: FBT003 - SQL's true
            .select_from(
                inputs.outerjoin(results, and_(results.c.run_no == inputs.c.run_no, results.c.row == inputs.c.row))
            )
            .where(inputs.c.run_no == run_no, inputs.c.shard.is_not(None), results.c.row.is_(None)),
        )
        .execution_options(preserve_rowcount=True)
    )
    store_of(connection.dialect).note_sizes(connection)  # whoever claims the run joins all of them
    return int(done.rowcount)
