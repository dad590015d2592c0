"""What a run and its shards still need, and whose the shards are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import or_, select

from worker.ledger.tables import inputs, results, same_row, shards

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

__all__ = ["ShardState", "has_open_rows", "look_at"]


class ShardState(NamedTuple):
    """A shard as it is now."""

    workspace_id: str | None
    """None: its rows name none."""
    epoch: int
    """How often it was taken; another number than one's own means that somebody else has it."""
    is_open: bool
    """Whether any of its rows lacks its result, or its details."""


def look_at(engine: Engine, run_no: int, numbers: Sequence[int]) -> dict[int, ShardState]:
    """These shards, by number and in its order; those of a run that is gone are missing."""
    is_open = (
        select(inputs.c.row)
        .outerjoin(results, same_row(results, inputs))
        .where(
            inputs.c.run_no == shards.c.run_no,
            inputs.c.shard == shards.c.shard,
            or_(results.c.row.is_(None), results.c.details_due),
        )
        .correlate(shards)
        .exists()
    )
    with engine.connect() as connection:
        found = connection.execute(
            select(shards.c.shard, shards.c.workspace_id, shards.c.epoch, is_open)
            .where(shards.c.run_no == run_no, shards.c.shard.in_(numbers))
            .order_by(shards.c.shard)
        ).all()
    return {shard: ShardState(*state) for shard, *state in found}


def has_open_rows(engine: Engine, run_no: int) -> bool:
    """Whether any row of the run still lacks its result, or any assigned row its details."""
    query = select(
        select(inputs.c.row)
        .outerjoin(results, same_row(results, inputs))
        .where(inputs.c.run_no == run_no, or_(results.c.row.is_(None), results.c.details_due))
        .limit(1)
        .exists()
    )
    with engine.connect() as connection:
        return bool(connection.execute(query).scalar())
