"""Rows of a file that ask for one credential more than once: duplicates, or in dispute (DESIGN 4).

A row that names no workspace means the API key's. Which one that is, the service tells only after the file was
read: until then such rows repeat those that name one, and `dispute_late` looks at them again.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    Boolean,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    case,
    cast,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    update,
)

from worker.ledger.decided import decide, sentinel
from worker.ledger.tables import inputs, results, same_row, same_shard, shards
from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection
    from sqlalchemy.sql.elements import ColumnElement

__all__ = ["decide_repeats", "dispute_late", "disputed"]

_repeated = Table(
    "repeated",
    MetaData(),
    Column("acs_credential_id", Text, primary_key=True),
    Column("first_row", Integer, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("disputed", Boolean, nullable=False, server_default=false()),
    prefixes=["TEMPORARY"],
)
_COLUMNS: Final = ("acs_credential_id", "first_row", "wanted")


@contextmanager
def _table(connection: Connection) -> Iterator[None]:
    _repeated.drop(connection, checkfirst=True)
    _repeated.create(connection)
    yield
    _repeated.drop(connection)


def disputed(home: str | None) -> ColumnElement[bool]:
    """Of `inputs` grouped by credential: its rows want it for different people, or in different workspaces.

    Args:
        home: the workspace of rows that name none, where it is known; else they agree with any.
    """
    person = func.coalesce(inputs.c.acs_user_id, literal("identity ") + inputs.c.user_identity_id)
    place = inputs.c.workspace_id if home is None else func.coalesce(inputs.c.workspace_id, literal(home))
    return or_(
        func.min(person) != func.max(person),
        func.coalesce(func.min(place) != func.max(place), False),
    )


def decide_repeats(connection: Connection, run_no: int, *, home: str | None, now: float) -> None:
    """Results for duplicates and conflicts: a sort on disk finds them, wherever in the file they stand."""
    with _table(connection):
        found = connection.execute(
            insert(_repeated)
            .from_select(
                list(_COLUMNS),
                select(inputs.c.acs_credential_id, func.min(inputs.c.row), func.count())
                .where(inputs.c.run_no == run_no, inputs.c.shard.is_not(None))
                .group_by(inputs.c.acs_credential_id)
                .having(func.count() > 1),
            )
            .execution_options(preserve_rowcount=True)
        )
        if found.rowcount:
            _mark_disputed(connection, run_no, home)
            _decide(connection, run_no, now=now)


def _mark_disputed(connection: Connection, run_no: int, home: str | None) -> None:
    # For whom, of these alone: to sort the people of all rows too would take three times as long.
    connection.execute(
        update(_repeated)
        .where(
            _repeated.c.acs_credential_id.in_(
                select(inputs.c.acs_credential_id)
                .join(_repeated, _repeated.c.acs_credential_id == inputs.c.acs_credential_id)
                .where(inputs.c.run_no == run_no)
                .group_by(inputs.c.acs_credential_id)
                .having(disputed(home))
            )
        )
        .values(disputed=True)
    )


def dispute_late(connection: Connection, run_no: int, *, home: str, now: float) -> int:
    """Make a conflict of repeats that turn out to be in different workspaces, and were not sent; of how many rows."""
    places = connection.execute(select(shards.c.workspace_id).where(shards.c.run_no == run_no)).scalars().all()
    if None not in places or not {*places} - {None, home}:
        return 0
    here = same_row(results, inputs)
    is_duplicate = func.coalesce(results.c.outcome, "") == Outcome.DUPLICATE.value
    begun = and_(
        ~is_duplicate,
        or_(results.c.row.is_not(None), inputs.c.row <= shards.c.dispatched_through),
    )
    repeats = (
        select(inputs.c.acs_credential_id)
        .join(results, here)
        .where(inputs.c.run_no == run_no, is_duplicate)
        .correlate(None)
    )
    with _table(connection):
        found = connection.execute(
            insert(_repeated)
            .from_select(
                [*_COLUMNS, "disputed"],
                select(inputs.c.acs_credential_id, func.min(inputs.c.row), func.count(), true())
                .select_from(inputs.join(shards, same_shard(shards, inputs)).outerjoin(results, here))
                .where(inputs.c.run_no == run_no, inputs.c.acs_credential_id.in_(repeats))
                .group_by(inputs.c.acs_credential_id)
                .having(and_(disputed(home), func.max(case((begun, 1), else_=0)) == 0)),
            )
            .execution_options(preserve_rowcount=True)
        )
        if not found.rowcount:
            return 0
        again = exists().where(
            inputs.c.run_no == run_no,
            inputs.c.row == results.c.row,
            inputs.c.acs_credential_id == _repeated.c.acs_credential_id,
        )
        connection.execute(delete(results).where(results.c.run_no == run_no, again))
        return _decide(connection, run_no, now=now)


def _decide(connection: Connection, run_no: int, *, now: float) -> int:
    """Results for the rows of the credentials in `_repeated`; how many."""
    first = cast(_repeated.c.first_row, String)
    is_conflict = _repeated.c.disputed
    return decide(
        connection,
        select(
            inputs.c.run_no,
            inputs.c.row,
            case((is_conflict, Outcome.CONFLICT.value), else_=Outcome.DUPLICATE.value),
            case(
                (
                    is_conflict,
                    cast(_repeated.c.wanted, String)
                    + " rows want this credential for different people or workspaces, the first of them row "
                    + first
                    + "; none is sent: keep one",
                ),
                else_=literal("row ") + first + " asks for the same; that one goes, this one needs nothing",
            ),
            *sentinel(now),
        ).where(
            inputs.c.run_no == run_no,
            inputs.c.acs_credential_id == _repeated.c.acs_credential_id,
            or_(is_conflict, inputs.c.row != _repeated.c.first_row),
        ),
    )
