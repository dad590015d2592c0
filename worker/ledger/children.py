"""What every run over rows of an earlier one has in common: a retry and an undo are such children."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, insert, literal, select, update

from worker.ledger.runs import RunSpec, as_run
from worker.ledger.tables import inputs, runs, shards

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.ledger.mode import Mode
    from worker.ledger.runs import Run

__all__ = ["fill_shards", "open_child", "spec_of_child"]


def spec_of_child(  # noqa: PLR0913 - what a child does not have from its root
    root: Run, *, kind: str, mode: Mode, settings: str, workspace_id: str | None, choice: str | None = None
) -> RunSpec:
    """What makes a child of a run; `choice`: which of its rows are meant, as JSON, where not all of them are."""
    return RunSpec(
        name=root.name,
        input_name=root.input_name,
        input_format=root.input_format,
        header=root.header,
        parse_options=root.parse_options if choice is None else choice,
        mode=mode,
        endpoint=root.endpoint,
        workspace_id=workspace_id,
        settings=settings,
        kind=kind,
        parent_no=root.run_no,
    )


def fill_shards(connection: Connection, root: Run, child: Run) -> None:
    """The root's shards, as far as the child has rows of them; those of one workspace are one.

    A fleet cuts a large workspace into several, which go one after another. A child is sent by one process, side by
    side, and a workspace must have one throttle.
    """
    first = func.min(shards.c.shard).over(partition_by=shards.c.workspace_id).label("first")
    homes = select(shards.c.shard, first).where(shards.c.run_no == root.run_no).subquery()
    connection.execute(
        update(inputs)
        .where(inputs.c.run_no == child.run_no, inputs.c.shard == homes.c.shard, homes.c.first != homes.c.shard)
        .values(shard=homes.c.first)
    )
    sizes = (
        select(inputs.c.shard, func.count().label("rows"))
        .where(inputs.c.run_no == child.run_no)
        .group_by(inputs.c.shard)
        .subquery()
    )
    connection.execute(
        insert(shards).from_select(
            ["run_no", "shard", "workspace_id", "rows", "epoch", "dispatched_through"],
            select(literal(child.run_no), shards.c.shard, shards.c.workspace_id, sizes.c.rows, literal(0), literal(0))
            .join(sizes, sizes.c.shard == shards.c.shard)
            .where(shards.c.run_no == root.run_no),
        )
    )


def open_child(connection: Connection, root: Run, child: Run, *, now: float, workspace_id: str | None = None) -> Run:
    """Open a child whose inputs are filled, for sending."""
    total = select(func.count()).select_from(inputs).where(inputs.c.run_no == child.run_no).scalar_subquery()
    return as_run(
        connection.execute(
            update(runs)
            .where(runs.c.run_no == child.run_no)
            .values(
                state="open",
                input_sha256=root.input_sha256,
                rows=total,
                staged_at=now,
                workspace_id=workspace_id or child.workspace_id,
            )
            .returning(runs)
        ).one()
    )
