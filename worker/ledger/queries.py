"""What comes out of the ledger: every row of a run in input order, and the sums for its report.

Nothing here writes. A row without a result is `pending` or `in_doubt` (DESIGN 11.6): what is noted of it counts;
where nothing is, a row within its shard's mark may have been sent.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Integer, Text, and_, bindparam, case, func, literal_column, select

from worker.ledger.statements import Statement
from worker.ledger.tables import RESULT_COLUMNS, inputs, results, shards, unsettled
from worker.models import Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from sqlalchemy import Engine, Select
    from sqlalchemy.sql.elements import ColumnElement

__all__ = [
    "ExportRow",
    "Group",
    "count_decided",
    "count_outcomes",
    "fetch_examples",
    "fetch_workspaces",
    "group_rows",
    "stream_decided",
    "stream_export",
    "stream_latencies",
]

PENDING_DETAIL: Final = "not sent: the run stopped first; the same command goes on from here"
IN_DOUBT_DETAIL: Final = (
    "it may have been sent, and no reply is recorded; the same command reads its owner back before it sends again"
)


class ExportRow(NamedTuple):
    """One input row and the last word on it."""

    line: int
    cells: str
    """JSON, as `InputRow.cells`."""
    result: Result
    """As recorded, or made up for a row that has none yet; its outcome is a plain word, its flags are 0 and 1
    on SQLite."""


class Group(NamedTuple):
    """Rows of a run that are alike."""

    shard: int | None
    """None: rejected when read."""
    outcome: Outcome
    error_type: str | None
    warning_codes: str | None
    """`;`-joined."""
    attempts: int
    """Of each of the rows."""
    rows: int
    first_row: int


def _constant(text: str) -> ColumnElement[str]:
    """One of our own words in the SQL itself: PostgreSQL takes no parameter in what it groups by."""
    return literal_column("'" + text.replace("'", "''") + "'", Text)


_ROWS: Final = inputs.outerjoin(results, and_(results.c.run_no == inputs.c.run_no, results.c.row == inputs.c.row))
_IS_OPEN: Final = results.c.row.is_(None)
# Subqueries, since they are looked up for open rows alone: a join would cost every row its two searches.
_NOTED: Final = (
    select(unsettled.c.maybe_applied)
    .where(unsettled.c.run_no == inputs.c.run_no, unsettled.c.row == inputs.c.row)
    .correlate(inputs)
    .scalar_subquery()
)
_WITHIN_MARK: Final = (
    select(inputs.c.row <= shards.c.dispatched_through)
    .where(shards.c.run_no == inputs.c.run_no, shards.c.shard == inputs.c.shard)
    .correlate(inputs)
    .scalar_subquery()
)
_ATTEMPTED: Final = (
    select(unsettled.c.attempts)
    .where(unsettled.c.run_no == inputs.c.run_no, unsettled.c.row == inputs.c.row)
    .correlate(inputs)
    .scalar_subquery()
)
_MAYBE_APPLIED: Final = func.coalesce(_NOTED, _WITHIN_MARK)
_DERIVED: Final[dict[str, ColumnElement[Any]]] = {
    "row": inputs.c.row,
    "outcome": case(
        (~_IS_OPEN, results.c.outcome),
        (_MAYBE_APPLIED, _constant(Outcome.IN_DOUBT)),
        else_=_constant(Outcome.PENDING),
    ),
    "detail": case(
        (~_IS_OPEN, results.c.detail),
        (_MAYBE_APPLIED, _constant(IN_DOUBT_DETAIL)),
        else_=_constant(PENDING_DETAIL),
    ),
    "attempts": case((~_IS_OPEN, results.c.attempts), else_=func.coalesce(_ATTEMPTED, literal_column("0", Integer))),
}
"""The columns of a row that has no result yet; its others are null."""


def _stream(engine: Engine, query: Select[Any], run_no: int) -> Iterator[tuple[Any, ...]]:
    """The records of a query over `run`, as the driver gives them, one at a time."""
    statement = Statement.build(query, engine.dialect)
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        try:
            yield from statement.stream(cursor, run=run_no)
        finally:
            cursor.close()
    finally:
        connection.close()


_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}


def stream_export(engine: Engine, run_no: int) -> Generator[ExportRow]:
    """One `ExportRow` per input row, in input order, in one consistent view; memory stays flat.

    Close it (or read it to its end) to give the connection back.
    """
    columns = [_DERIVED.get(name, results.c[name]) for name in RESULT_COLUMNS]
    query = (
        select(inputs.c.line, inputs.c.cells, *columns)
        .select_from(_ROWS)
        .where(inputs.c.run_no == bindparam("run"))
        .order_by(inputs.c.row)
    )
    make = Result._make
    for record in _stream(engine, query, run_no):
        yield ExportRow(record[0], record[1], make(record[2:]))


def stream_decided(engine: Engine, run_no: int, *, limit: int | None = None) -> Generator[tuple[int, int, str, str]]:
    """(row, line, outcome, detail) of the rows that have a result, in input order."""
    query = (
        select(results.c.row, inputs.c.line, results.c.outcome, results.c.detail)
        .join(inputs, and_(inputs.c.run_no == results.c.run_no, inputs.c.row == results.c.row))
        .where(results.c.run_no == bindparam("run"))
        .order_by(results.c.row)
    )
    if limit is not None:
        query = query.limit(limit)
    yield from _stream(engine, query, run_no)


def group_rows(engine: Engine, run_no: int) -> Iterator[Group]:
    """The rows of a run by what a report tells of them, in one scan."""
    keys = (
        inputs.c.shard,
        _DERIVED["outcome"],
        results.c.error_type,
        results.c.warning_codes,
        _DERIVED["attempts"],
    )
    query = (
        select(*keys, func.count(), func.min(inputs.c.row))
        .select_from(_ROWS)
        .where(inputs.c.run_no == bindparam("run"))
        .group_by(*keys)
    )
    for shard, outcome, *rest in _stream(engine, query, run_no):
        yield Group(shard, _OUTCOMES[outcome], *rest)


def count_decided(engine: Engine, run_no: int) -> Counter[Outcome]:
    """How many rows have each outcome, of those that have a result at all; quicker than `count_outcomes`."""
    query = (
        select(results.c.outcome, func.count()).where(results.c.run_no == bindparam("run")).group_by(results.c.outcome)
    )
    return Counter({_OUTCOMES[outcome]: count for outcome, count in _stream(engine, query, run_no)})


def count_outcomes(engine: Engine, run_no: int) -> Counter[Outcome]:
    """How many rows have each outcome, `pending` and `in_doubt` ones included."""
    query = (
        select(_DERIVED["outcome"], func.count())
        .select_from(_ROWS)
        .where(inputs.c.run_no == bindparam("run"))
        .group_by(_DERIVED["outcome"])
    )
    return Counter({_OUTCOMES[outcome]: count for outcome, count in _stream(engine, query, run_no)})


def stream_latencies(engine: Engine, run_no: int) -> Iterator[tuple[int, int]]:
    """(milliseconds, rows) in ascending order, over the rows that were sent."""
    query = (
        select(results.c.duration_ms, func.count())
        .where(results.c.run_no == bindparam("run"), results.c.duration_ms.is_not(None))
        .group_by(results.c.duration_ms)
        .order_by(results.c.duration_ms)
    )
    yield from _stream(engine, query, run_no)


def fetch_examples(engine: Engine, run_no: int, rows: Sequence[int]) -> dict[int, tuple[str | None, str | None]]:
    """(error_message, detail) of some rows."""
    query = (
        select(inputs.c.row, results.c.error_message, _DERIVED["detail"])
        .select_from(_ROWS)
        .where(inputs.c.run_no == run_no, inputs.c.row.in_(rows))
    )
    with engine.connect() as connection:
        return {row: (message, detail) for row, message, detail in connection.execute(query)}


def fetch_workspaces(engine: Engine, run_no: int) -> dict[int, str | None]:
    """Shard -> the workspace it belongs to; None is the API key's own."""
    query = select(shards.c.shard, shards.c.workspace_id).where(shards.c.run_no == run_no)
    with engine.connect() as connection:
        return {shard: workspace for shard, workspace in connection.execute(query)}  # noqa: C416 - typed rows
