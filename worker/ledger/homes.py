"""Where rows of a run went that the default key opens; the others name a workspace that has a key of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, not_, or_, select, true

from worker.ledger.tables import inputs, results, runs, same_row, shards

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection, FromClause
    from sqlalchemy.sql.elements import ColumnElement

    from worker.ledger.runs import Run

__all__ = ["has_home_rows", "has_read_at_home", "home_of", "may_share_workspace"]


def home_of(connection: Connection, run_no: int, *, keyed: Collection[str] | None = None) -> str | None:
    """The workspace of the default key that a run was begun with: as noted, else as the first row told that it opened.

    Args:
        connection: to the ledger.
        run_no: of the run.
        keyed: workspaces that the default key does not open, since they have keys of their own; None: it opens only
            the one of rows that name none.
    """
    noted = connection.execute(select(runs.c.workspace_id).where(runs.c.run_no == run_no)).scalar()
    if noted is not None:
        return str(noted)
    told = _told_at_home([run_no], keyed, results.c.credential_workspace_id)
    found = connection.execute(told.limit(1)).scalar()
    return None if found is None else str(found)


def has_read_at_home(connection: Connection, run: Run, *, keyed: Collection[str] | None = None) -> bool:
    """Whether the run, or the one that it is a child of, was ever told of a credential that the default key opened."""
    numbers = [run.run_no] if run.parent_no is None else [run.run_no, run.parent_no]
    return connection.execute(_told_at_home(numbers, keyed, results.c.row).limit(1)).first() is not None


def has_home_rows(connection: Connection, run_no: int, *, keyed: Collection[str] | None = None) -> bool:
    """Whether the default key opens any row of a run."""
    found = select(shards.c.shard).where(shards.c.run_no == run_no, _at_home(shards, keyed)).limit(1)
    return connection.execute(found).first() is not None


def may_share_workspace(connection: Connection, one: int, other: int, *, homes: tuple[str | None, str | None]) -> bool:
    """Whether any rows of two runs may be of one workspace; a home that is not known may be any."""
    places = [_places(connection, run_no, home) for run_no, home in zip((one, other), homes, strict=True)]
    return any(None in each for each in places) or not places[0].isdisjoint(places[1])


def _places(connection: Connection, run_no: int, home: str | None) -> set[str | None]:
    place = func.coalesce(shards.c.workspace_id, home)
    return set(connection.execute(select(place).where(shards.c.run_no == run_no).distinct()).scalars())


def _told_at_home(numbers: Collection[int], keyed: Collection[str] | None, column: ColumnElement[Any]) -> Any:  # noqa: ANN401 - SQLAlchemy's select
    """`column` of results whose row the default key opened, and of which the service told anything."""
    return (
        select(column)
        .join(inputs, same_row(inputs, results))
        .where(
            results.c.run_no.in_(numbers),
            results.c.credential_workspace_id.is_not(None),
            _at_home(inputs, keyed),
        )
    )


def _at_home(rows: FromClause, keyed: Collection[str] | None) -> ColumnElement[bool]:
    """Of `inputs` or `shards`: the default key opens them."""
    workspace = rows.c.workspace_id
    if keyed is None:
        return workspace.is_(None)
    return or_(workspace.is_(None), not_(workspace.in_(keyed))) if keyed else true()
