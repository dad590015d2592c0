"""Every input row into the ledger in one pass, before the first send (DESIGN 4).

Rows that can never be sent get their result here: invalid ones as they are read, duplicates and conflicts by
SQL over the whole file. What earlier runs say of them comes when the run is opened (`opening`).
"""

from __future__ import annotations

import sys
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

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
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from worker.errors import ConfigError
from worker.ledger.store import store_of
from worker.ledger.tables import inputs, results, shards, unsettled
from worker.models import InputRow, Job, Outcome, UserKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.sql.elements import ColumnElement

    from worker.ledger.runs import Run

__all__ = ["DECIDED", "disputed", "reject_other_workspaces", "sentinel", "stage"]

_ROWS_PER_TRANSACTION: Final = 50_000
_LOOK: Final = 2_000
"""Rows from one look at whether to go on to the next."""

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
    Column("disputed", Boolean, nullable=False, server_default=false()),
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
    records = _Records(run.run_no, rows, cut, now=now, keep_going=keep_going)
    _write_inputs(engine, records)
    if records.is_cut_short:
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


class _Records:
    """What is written of each row, made as the rows come; iterate once."""

    def __init__(
        self, run_no: int, rows: Iterable[InputRow], cut: _Shards, *, now: float, keep_going: Callable[[], bool]
    ) -> None:
        self._run_no = run_no
        self._rows = rows
        self._cut = cut
        self._now = now
        self._keep_going = keep_going
        self.invalid: list[tuple[object, ...]] = []
        """Results of the rows so far that are no jobs; whoever writes them takes them away."""
        self.is_cut_short = False

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        """Values of `_INPUT_COLUMNS`."""
        run_no, shard_of, now = self._run_no, self._cut.shard_of, self._now
        for number, (parsed, cells) in enumerate(self._rows):
            if not number % _LOOK and not self._keep_going():
                self.is_cut_short = True
                return
            if isinstance(parsed, Job):
                row, line, credential, user_key, user, workspace, _ = parsed
                shard = shard_of(workspace)
                if user_key is UserKey.ACS_USER:
                    yield (run_no, row, line, shard, credential, user, None, workspace, cells)
                else:
                    yield (run_no, row, line, shard, credential, None, user, workspace, cells)
            else:
                yield (run_no, parsed.row, parsed.line, None, None, None, None, None, cells)
                self.invalid.append((run_no, parsed.row, "invalid", parsed.reason, now, 0, False, False))


def _write_inputs(engine: Engine, records: _Records) -> None:
    store = store_of(engine.dialect)
    write_inputs, write_results = store.bulk(inputs, _INPUT_COLUMNS), store.bulk(results, DECIDED)
    connection = engine.raw_connection()
    cursor = connection.cursor()
    left = iter(records)
    try:
        for first in left:
            if store.begin:
                cursor.execute(store.begin)
            # As they are read, not as a list: so a server takes rows in while the next ones are read.
            write_inputs.many(cursor, chain((first,), islice(left, _ROWS_PER_TRANSACTION - 1)))
            if records.invalid:
                write_results.many(cursor, records.invalid)
                records.invalid.clear()
            connection.commit()
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
    found = connection.execute(
        insert(_repeated)
        .from_select(
            ["acs_credential_id", "first_row", "wanted"],
            select(inputs.c.acs_credential_id, func.min(inputs.c.row), func.count())
            .where(inputs.c.run_no == run_no, inputs.c.shard.is_not(None))
            .group_by(inputs.c.acs_credential_id)
            .having(func.count() > 1),
        )
        .execution_options(preserve_rowcount=True)
    )
    if found.rowcount:
        _decide_found(connection, run_no, now=now)
    _repeated.drop(connection)


def _decide_found(connection: Connection, run_no: int, *, now: float) -> None:
    """Results for the rows of the credentials in `_repeated`."""
    # For whom, of these alone: to sort the people of all rows too would take three times as long.
    connection.execute(
        update(_repeated)
        .where(
            _repeated.c.acs_credential_id.in_(
                select(inputs.c.acs_credential_id)
                .join(_repeated, _repeated.c.acs_credential_id == inputs.c.acs_credential_id)
                .where(inputs.c.run_no == run_no)
                .group_by(inputs.c.acs_credential_id)
                .having(disputed())
            )
        )
        .values(disputed=True)
    )
    first = cast(_repeated.c.first_row, String)
    is_conflict = _repeated.c.disputed
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


def sentinel(now: float) -> tuple[ColumnElement[Any], ...]:
    """The last columns of `DECIDED`: nothing was sent."""
    return (literal(now), literal(0), literal(False), literal(False))  # noqa: FBT003 - SQL's false


def reject_other_workspaces(engine: Engine, run: Run, workspace_id: str, *, now: float) -> int:
    """Make `invalid` every unsent row that names another workspace than the API key's; how many (DESIGN 11.14).

    Raises:
        ConfigError: such a row may have been sent, with another key.
    """
    undecided = ~exists().where(results.c.run_no == inputs.c.run_no, results.c.row == inputs.c.row)
    with engine.begin() as connection:
        _refuse_sent_elsewhere(connection, run, workspace_id, undecided)
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


def _refuse_sent_elsewhere(connection: Connection, run: Run, workspace_id: str, undecided: ColumnElement[bool]) -> None:
    """Whether a row was applied is to be asked with the key that it was sent with."""
    found = connection.execute(
        select(inputs.c.row, inputs.c.workspace_id)
        .join(shards, and_(shards.c.run_no == inputs.c.run_no, shards.c.shard == inputs.c.shard))
        .outerjoin(unsettled, and_(unsettled.c.run_no == inputs.c.run_no, unsettled.c.row == inputs.c.row))
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
