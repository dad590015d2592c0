"""Open rows that are in doubt for what another run did, or since the ledger itself is not to be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, exists, func, insert, literal, or_, select, true, union, update

from worker.ledger.fences import fenced
from worker.ledger.runs import UNDO, as_run, worked_until
from worker.ledger.store import store_of
from worker.ledger.tables import inputs, results, runs, same_row, same_shard, shards, unsettled
from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine

    from worker.claim import Claim
    from worker.ledger.runs import Run

__all__ = ["doubt_open_rows", "doubt_rows", "mark_doubtful", "mark_left_since"]

_CLOCKS_APART: Final = 3600.0
"""Seconds by which the clocks of machines that share a ledger may differ."""


def doubt_open_rows(engine: Engine, run_no: int, *, claim: Claim | None = None) -> None:
    """Have every row without a result read back before it is sent.

    For a ledger that was restored from a backup: its marks are older than what was sent (DESIGN 11.8).

    Raises:
        FenceLostError: the claim, where there is one, is gone; nothing was changed.
    """
    with fenced(engine, claim) as connection:
        doubt_rows(connection, run_no)


def doubt_rows(connection: Connection, run_no: int) -> None:
    """`doubt_open_rows`, within a transaction."""
    connection.execute(update(unsettled).where(unsettled.c.run_no == run_no).values(maybe_applied=True))
    connection.execute(
        insert(unsettled).from_select(
            ["run_no", "row", "maybe_applied", "attempts"],
            select(inputs.c.run_no, inputs.c.row, literal(True), literal(0))  # noqa: FBT003 - SQL's true
            .select_from(
                inputs.outerjoin(results, same_row(results, inputs)).outerjoin(unsettled, same_row(unsettled, inputs))
            )
            .where(
                inputs.c.run_no == run_no,
                inputs.c.shard.is_not(None),
                results.c.row.is_(None),
                unsettled.c.row.is_(None),
            ),
        )
    )
    store_of(connection.dialect).note_sizes(connection)  # whoever claims the run joins all of them


def mark_doubtful(connection: Connection, run: Run, numbers: Sequence[int] | None = None) -> None:
    """Mark open rows whose credential another run left in doubt: they are read back before anything is sent.

    Args:
        connection: in a transaction of whoever opens or claims the run.
        run: its rows are marked.
        numbers: those of these shards; None: of all.
    """
    own, left = shards.alias(), shards.alias()
    meant = and_(own.c.run_no == run.run_no, true() if numbers is None else own.c.shard.in_(numbers))
    # A credential is of one workspace, and who names none may mean any.
    same_place = or_(
        left.c.workspace_id.is_(None),
        left.c.workspace_id.in_(select(own.c.workspace_id).where(meant)),
        exists().where(meant, own.c.workspace_id.is_(None)),
    )
    left_open = (
        select(inputs.c.acs_credential_id)
        .join(runs, and_(runs.c.run_no == inputs.c.run_no, runs.c.state.in_(["open", "superseded"])))
        .join(left, same_shard(left, inputs))
        .outerjoin(results, same_row(results, inputs))
        .outerjoin(unsettled, same_row(unsettled, inputs))
        .where(
            runs.c.run_no != run.run_no,
            runs.c.endpoint == run.endpoint,
            inputs.c.row <= left.c.dispatched_through,
            same_place,
            results.c.row.is_(None),
            func.coalesce(unsettled.c.maybe_applied, True),
        )
    )
    in_doubt = (
        select(inputs.c.acs_credential_id)
        .join(results, same_row(results, inputs))
        .where(results.c.outcome == literal(Outcome.IN_DOUBT.value, literal_execute=True))
    )
    here = inputs.alias()
    doubted = and_(
        here.c.run_no == run.run_no,
        true() if numbers is None else here.c.shard.in_(numbers),
        here.c.acs_credential_id.in_(union(left_open, in_doubt)),
    )
    # That this run's own send was surely not executed says nothing of the other's.
    connection.execute(
        update(unsettled)
        .where(
            unsettled.c.run_no == run.run_no,
            unsettled.c.maybe_applied.is_(False),
            exists().where(doubted, here.c.row == unsettled.c.row),
        )
        .values(maybe_applied=True)
    )
    connection.execute(
        insert(unsettled).from_select(
            ["run_no", "row", "maybe_applied", "attempts"],
            select(here.c.run_no, here.c.row, literal(True), literal(0)).where(  # noqa: FBT003 - SQL's
                doubted,
                ~exists().where(unsettled.c.run_no == here.c.run_no, unsettled.c.row == here.c.row),
                ~exists().where(results.c.run_no == here.c.run_no, results.c.row == here.c.row),
            ),
        )
    )


def mark_left_since(connection: Connection, run_no: int, numbers: Sequence[int] | None) -> None:
    """`mark_doubtful` for what other runs have left since this one was opened; in the transaction that claims it.

    Nobody else can claim anything between this look and the claim. An undo reads every row in any case.
    """
    run = as_run(connection.execute(select(runs).where(runs.c.run_no == run_no)).one())
    others = exists().where(
        runs.c.run_no != run_no,
        runs.c.endpoint == run.endpoint,
        runs.c.started_at.is_not(None),
        worked_until() > (run.staged_at or 0.0) - _CLOCKS_APART,
    )
    if run.kind != UNDO and connection.execute(select(others)).scalar():
        mark_doubtful(connection, run, numbers)
