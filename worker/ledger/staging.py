"""Every input row into the ledger in one pass, before the first send (DESIGN 4).

Rows that can never be sent get their result here: invalid ones as they are read, duplicates and conflicts by
SQL over the whole file. What earlier runs say of them comes when the run is opened (`opening`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    case,
    cast,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
)

from worker.ledger.store import store_of
from worker.ledger.tables import inputs, results, shards
from worker.models import InputRow, Job, Outcome, UserKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.sql.elements import ColumnElement

    from worker.ledger.runs import Run

__all__ = ["DECIDED", "disputed", "reject_other_workspaces", "sentinel", "stage"]

_GROUP: Final = 2_000
_GROUPS_PER_TRANSACTION: Final = 25

_INPUT_COLUMNS: Final = tuple(column.name for column in inputs.columns if column.name != "unassign")
DECIDED: Final = (
    "run_no",
    "row",
    "outcome",
    "detail",
    "finished_at",
    "attempts",
    "read_back",
    "details_due",
)
"""The columns of a row that is decided without sending."""

_repeated = Table(
    "repeated",
    MetaData(),
    Column("acs_credential_id", Text, primary_key=True),
    Column("first_row", Integer, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("disputed", Integer, nullable=False),
    prefixes=["TEMPORARY"],
)


def stage(  # noqa: PLR0913 - keywords, each of them optional
    engine: Engine,
    run: Run,
    rows: Iterable[InputRow],
    *,
    now: float,
    keep_going: Callable[[], bool] = lambda: True,
    shard_rows: int | None = None,
) -> bool:
    """Write all rows of the input; decide those that cannot be sent. False if `keep_going` said no.

    A workspace is one shard, or, given `shard_rows`, as many as it takes with so many rows each. Memory does not grow
    with the number of rows; it does with the number of shards.

    Raises:
        InputError: from the reader, where the file as a whole turns out to be unreadable.
    """
    cut = _Shards(shard_rows)
    if not _write_inputs(engine, run.run_no, rows, cut, now=now, keep_going=keep_going):
        return False
    with engine.begin() as connection:
        if cut.sizes:
            connection.execute(insert(shards), [{"run_no": run.run_no, **shard} for shard in cut.records()])
        _decide_repeated(connection, run.run_no, now=now)
    return True


class _Shards:
    """Deals rows out to shards, as they come."""

    def __init__(self, most_rows: int | None) -> None:
        self._most = sys.maxsize if most_rows is None else most_rows
        self._present: dict[str | None, int] = {}
        self._workspaces: list[str | None] = []
        self.sizes: list[int] = []

    def shard_of(self, workspace_id: str | None) -> int:
        """The shard of the next row of this workspace."""
        shard = self._present.get(workspace_id)
        if shard is None or self.sizes[shard] >= self._most:
            shard = self._present[workspace_id] = len(self.sizes)
            self._workspaces.append(workspace_id)
            self.sizes.append(0)
        self.sizes[shard] += 1
        return shard

    def records(self) -> Iterator[dict[str, Any]]:
        """For the table, without their run."""
        for shard, (workspace_id, rows) in enumerate(zip(self._workspaces, self.sizes, strict=True)):
            yield {"shard": shard, "workspace_id": workspace_id, "rows": rows}


def _write_inputs(  # noqa: C901, PLR0913 - one loop and its way out
    engine: Engine,
    run_no: int,
    rows: Iterable[InputRow],
    cut: _Shards,
    *,
    now: float,
    keep_going: Callable[[], bool],
) -> bool:
    store = store_of(engine.dialect)
    write_inputs, write_results = store.bulk(inputs, _INPUT_COLUMNS), store.bulk(results, DECIDED)
    connection = engine.raw_connection()
    cursor = connection.cursor()
    staged: list[tuple[object, ...]] = []
    invalid: list[tuple[object, ...]] = []
    groups = 0

    def write_group() -> None:
        if groups % _GROUPS_PER_TRANSACTION == 0:
            connection.commit()
            if store.begin:
                cursor.execute(store.begin)
        write_inputs.many(cursor, staged)
        if invalid:
            write_results.many(cursor, invalid)
        staged.clear()
        invalid.clear()

    try:
        for parsed, cells in rows:
            if isinstance(parsed, Job):
                row, line, credential, user_key, user, workspace, _ = parsed
                shard = cut.shard_of(workspace)
                if user_key is UserKey.ACS_USER:
                    staged.append((run_no, row, line, shard, credential, user, None, workspace, cells))
                else:
                    staged.append((run_no, row, line, shard, credential, None, user, workspace, cells))
            else:
                staged.append((run_no, parsed.row, parsed.line, None, None, None, None, None, cells))
                invalid.append((run_no, parsed.row, "invalid", parsed.reason, now, 0, False, False))
            if len(staged) == _GROUP:
                if not keep_going():
                    return False
                write_group()
                groups += 1
        if staged:
            write_group()
        connection.commit()
        return True
    finally:
        connection.rollback()
        connection.close()


def disputed() -> ColumnElement[bool]:
    """Of `inputs` grouped by credential: its rows want it for different people, or in different workspaces."""
    person = func.coalesce(inputs.c.acs_user_id, literal("identity ") + inputs.c.user_identity_id)
    return or_(
        func.min(person) != func.max(person),
        func.coalesce(func.min(inputs.c.workspace_id) != func.max(inputs.c.workspace_id), False),
    )


def _decide_repeated(connection: Connection, run_no: int, *, now: float) -> None:
    """Results for duplicates and conflicts: a sort on disk finds them, wherever in the file they stand."""
    _repeated.drop(connection, checkfirst=True)
    _repeated.create(connection)
    connection.execute(
        insert(_repeated).from_select(
            [column.name for column in _repeated.columns],
            select(
                inputs.c.acs_credential_id,
                func.min(inputs.c.row),
                func.count(),
                case((disputed(), 1), else_=0),
            )
            .where(inputs.c.run_no == run_no, inputs.c.shard.is_not(None))
            .group_by(inputs.c.acs_credential_id)
            .having(func.count() > 1),
        )
    )
    first = cast(_repeated.c.first_row, String)
    is_conflict = _repeated.c.disputed == 1
    connection.execute(
        insert(results).from_select(
            list(DECIDED),
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
    )
    _repeated.drop(connection)


def sentinel(now: float) -> tuple[ColumnElement[Any], ...]:
    """The last columns of `DECIDED`: nothing was sent."""
    return (literal(now), literal(0), literal(False), literal(False))  # noqa: FBT003 - SQL's false


def reject_other_workspaces(engine: Engine, run: Run, workspace_id: str, *, now: float) -> int:
    """Make `invalid` every unsent row that names another workspace than the API key's; how many (DESIGN 11.14)."""
    undecided = ~exists().where(results.c.run_no == inputs.c.run_no, results.c.row == inputs.c.row)
    with engine.begin() as connection:
        done = connection.execute(
            insert(results)
            .from_select(
                list(DECIDED),
                select(
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
                ),
            )
            .execution_options(preserve_rowcount=True)
        )
    return int(done.rowcount)
