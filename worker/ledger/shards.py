"""What one shard of a run still needs, and whose it is: asked by workers that share a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, or_, select

from worker.ledger.tables import inputs, results, shards

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["ShardState", "look_at"]


class ShardState(NamedTuple):
    """A shard as it is now."""

    workspace_id: str | None
    """None: its rows name none."""
    epoch: int
    """How often it was taken; another number than one's own means that somebody else has it."""
    is_open: bool
    """Whether any of its rows lacks its result, or its details."""


def look_at(engine: Engine, run_no: int, shard: int) -> ShardState | None:
    """The shard; None where the run is gone."""
    is_open = (
        select(inputs.c.row)
        .outerjoin(results, and_(results.c.run_no == inputs.c.run_no, results.c.row == inputs.c.row))
        .where(
            inputs.c.run_no == run_no,
            inputs.c.shard == shard,
            or_(results.c.row.is_(None), results.c.details_due),
        )
        .exists()
    )
    with engine.connect() as connection:
        found = connection.execute(
            select(shards.c.workspace_id, shards.c.epoch, is_open).where(
                shards.c.run_no == run_no, shards.c.shard == shard
            )
        ).one_or_none()
    return None if found is None else ShardState(*found)
