"""Rows of another workspace than the API key's, once the service has told which one that is (DESIGN 11.14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, func, literal, select

from worker.errors import ConfigError
from worker.ledger.decided import decide, sentinel
from worker.ledger.fences import fenced
from worker.ledger.repeats import dispute_late
from worker.ledger.tables import inputs, results, same_row, same_shard, shards, unsettled
from worker.models import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.sql.elements import ColumnElement

    from worker.claim import Claim
    from worker.ledger.runs import Run

__all__ = ["judge_workspaces"]


def judge_workspaces(  # noqa: PLR0913 - what it goes by
    engine: Engine, run: Run, workspace_id: str, *, only: bool, now: float, claim: Claim | None = None
) -> int:
    """Decide what the workspace of the API key decides of unsent rows; how many that are.

    Rows for one credential that turn out to be in different workspaces are a conflict.

    Args:
        engine: the ledger.
        run: open, or planned.
        workspace_id: the API key's.
        only: the key is all there is, so that rows that name another workspace are `invalid`.
        now: Unix seconds.
        claim: under which it is decided; None where nobody can take the run away.

    Raises:
        FenceLostError: the claim is gone; nothing was decided.
        ConfigError: such a row may have been sent, with another key.
    """
    with fenced(engine, claim) as connection:
        decided = dispute_late(connection, run.run_no, home=workspace_id, now=now)
        if only:
            decided += _reject_others(connection, run, workspace_id, now=now)
    return decided


def _reject_others(connection: Connection, run: Run, workspace_id: str, *, now: float) -> int:
    undecided = ~exists().where(results.c.run_no == inputs.c.run_no, results.c.row == inputs.c.row)
    _refuse_sent_elsewhere(connection, run, workspace_id, undecided)
    others = select(
        inputs.c.run_no,
        inputs.c.row,
        literal(Outcome.INVALID.value),
        literal("column workspace_id: names ")
        + inputs.c.workspace_id
        + f", but the API key is for {workspace_id}; use that workspace's key, or a personal access token",
        *sentinel(now),
    ).where(
        inputs.c.run_no == run.run_no,
        inputs.c.workspace_id.is_not(None),
        inputs.c.workspace_id != workspace_id,
        undecided,
    )
    return decide(connection, others)


def _refuse_sent_elsewhere(connection: Connection, run: Run, workspace_id: str, undecided: ColumnElement[bool]) -> None:
    """Whether a row was applied is to be asked with the key that it was sent with."""
    found = connection.execute(
        select(inputs.c.row, inputs.c.workspace_id)
        .join(shards, same_shard(shards, inputs))
        .outerjoin(unsettled, same_row(unsettled, inputs))
        .where(
            inputs.c.run_no == run.run_no,
            inputs.c.workspace_id != workspace_id,
            inputs.c.row <= shards.c.dispatched_through,
            func.coalesce(unsettled.c.maybe_applied, True),
            undecided,
        )
        .order_by(inputs.c.row)
        .limit(1)
    ).one_or_none()
    if found is not None:
        raise ConfigError(
            f"row {found[0]} of run {run.id} is of workspace {found[1]} and may have been sent, and the key is for "
            f"{workspace_id}; use the keys or the token that the run was begun with"
        )
