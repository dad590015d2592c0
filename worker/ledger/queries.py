"""What comes out of the ledger: every row of a run in input order, and the sums for its report.

A run that was retried is told with its retries: the last word on each row counts (see `chains`).

Nothing here writes. A row without a result is `pending` or `in_doubt` (DESIGN 11.6): what is noted of it counts;
where nothing is, a row within its shard's mark may have been sent.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Integer, and_, bindparam, case, func, literal_column, select

from worker.ledger.chains import chain_of, is_doubtful, last_words, latest, members
from worker.ledger.statements import Statement
from worker.ledger.store import store_of
from worker.ledger.tables import RESULT_COLUMNS, inputs, results, same_row, shards, unsettled, word_of
from worker.models import Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from sqlalchemy import Engine, FromClause, Select
    from sqlalchemy.sql.elements import ColumnElement

    from worker.ledger.chains import Chain

__all__ = [
    "NOWHERE",
    "ExportRow",
    "Group",
    "Replaced",
    "count_by_workspace",
    "count_decided",
    "count_outcomes",
    "count_replaced",
    "fetch_examples",
    "fetch_workspaces",
    "group_rows",
    "stream_decided",
    "stream_export",
    "stream_latencies",
]

NOWHERE: Final = "none"
"""In place of the workspace of rows that were rejected when they were read."""
PENDING_DETAIL: Final = "not sent: the run stopped first; the same command goes on from here"
TRIED_DETAIL: Final = "not executed: the run stopped before the service took it; the same command goes on from here"
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
    run_id: str
    """Of the run that has the last word."""


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
    retryable: bool | None
    """None: nothing was sent, or nothing is known yet."""
    rows: int
    first_row: int


class _View:
    """Whose rows are told, and which run has the word on each: a run's own, or its chain's.

    The plain table where there is but one run: a million rows are read through this.
    """

    def __init__(self, chain: Chain | None = None) -> None:
        if chain is None or not chain.retries:
            self.rows: FromClause = inputs
            self._which: tuple[ColumnElement[bool], ...] = (inputs.c.run_no == bindparam("run"),)
        else:
            self.rows = last_words(bindparam("run")).subquery("words")
            self._which = ()
        row = self.rows.c
        self._joined = self.rows.outerjoin(results, same_row(results, self.rows))
        # Subqueries, since they are looked up for open rows alone: a join would cost every row its two searches.
        noted, attempted = (
            select(column)
            .where(unsettled.c.run_no == row.run_no, unsettled.c.row == row.row)
            .correlate(self.rows)
            .scalar_subquery()
            for column in (unsettled.c.maybe_applied, unsettled.c.attempts)
        )
        within_mark = (
            select(row.row <= shards.c.dispatched_through)
            .where(shards.c.run_no == row.run_no, shards.c.shard == row.shard)
            .correlate(self.rows)
            .scalar_subquery()
        )
        is_open = results.c.row.is_(None)
        maybe_applied = func.coalesce(noted, within_mark)
        self.told: dict[str, ColumnElement[Any]] = {
            **{name: results.c[name] for name in RESULT_COLUMNS},
            "row": row.row,
            "outcome": case(
                (~is_open, results.c.outcome),
                (maybe_applied, word_of(Outcome.IN_DOUBT)),
                else_=word_of(Outcome.PENDING),
            ),
            "detail": case(
                (~is_open, results.c.detail),
                (maybe_applied, word_of(IN_DOUBT_DETAIL)),
                (attempted > 0, word_of(TRIED_DETAIL)),
                else_=word_of(PENDING_DETAIL),
            ),
            "attempts": case(
                (~is_open, results.c.attempts), else_=func.coalesce(attempted, literal_column("0", Integer))
            ),
        }
        """The columns of a result; made up for a row that has none yet."""

    def select(self, *columns: ColumnElement[Any]) -> Select[Any]:
        """These columns of each row."""
        return select(*columns).select_from(self._joined).where(*self._which)


def _stream(engine: Engine, query: Select[Any], run_no: int) -> Iterator[tuple[Any, ...]]:
    """The records of a query over `run`, as the driver gives them, one at a time."""
    statement = Statement.build(query, engine.dialect)
    connection = engine.raw_connection()
    try:
        cursor = store_of(engine.dialect).cursor(connection)
        try:
            yield from statement.stream(cursor, run=run_no)
        finally:
            cursor.close()
    finally:
        connection.close()


_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}


def stream_export(engine: Engine, run_no: int) -> Generator[ExportRow]:
    """One `ExportRow` per input row of the run's chain, in input order, in one consistent view; memory stays flat.

    Close it (or read it to its end) to give the connection back.
    """
    chain = chain_of(engine, run_no)
    ids = {run.run_no: run.id for run in chain.runs}
    view = _View(chain)
    row = view.rows.c
    query = view.select(row.line, row.cells, row.run_no, *view.told.values()).order_by(row.row)
    make = Result._make
    for record in _stream(engine, query, chain.root.run_no):
        yield ExportRow(record[0], record[1], make(record[3:]), ids[record[2]])


def stream_decided(engine: Engine, run_no: int, *, limit: int | None = None) -> Generator[tuple[int, int, str, str]]:
    """(row, line, outcome, detail) of the rows that have a result, in input order."""
    query = (
        select(results.c.row, inputs.c.line, results.c.outcome, results.c.detail)
        .join(inputs, same_row(inputs, results))
        .where(results.c.run_no == bindparam("run"))
        .order_by(results.c.row)
    )
    if limit is not None:
        query = query.limit(limit)
    yield from _stream(engine, query, run_no)


def group_rows(engine: Engine, chain: Chain) -> Iterator[Group]:
    """The rows of a chain by what a report tells of them, in one scan."""
    view = _View(chain)
    keys = (
        view.rows.c.shard,
        view.told["outcome"],
        results.c.error_type,
        results.c.warning_codes,
        view.told["attempts"],
        results.c.retryable,
    )
    query = view.select(*keys, func.count(), func.min(view.rows.c.row)).group_by(*keys)
    for shard, outcome, error_type, codes, attempts, retryable, *rest in _stream(engine, query, chain.root.run_no):
        may_succeed = None if retryable is None else bool(retryable)
        yield Group(shard, _OUTCOMES[outcome], error_type, codes, attempts, may_succeed, *rest)


def count_decided(engine: Engine, run_no: int) -> Counter[Outcome]:
    """How many rows have each outcome, of those that have a result at all; quicker than `count_outcomes`."""
    query = (
        select(results.c.outcome, func.count()).where(results.c.run_no == bindparam("run")).group_by(results.c.outcome)
    )
    return Counter({_OUTCOMES[outcome]: count for outcome, count in _stream(engine, query, run_no)})


def count_outcomes(engine: Engine, run_no: int) -> Counter[Outcome]:
    """How many rows of this one run have each outcome, `pending` and `in_doubt` ones included."""
    view = _View()
    outcome = view.told["outcome"]
    query = view.select(outcome, func.count()).group_by(outcome)
    return Counter({_OUTCOMES[word]: count for word, count in _stream(engine, query, run_no)})


def count_by_workspace(engine: Engine, run_no: int) -> dict[str | None, Counter[Outcome]]:
    """`count_decided` by workspace: None is the API key's own, and what was rejected when read is in `NOWHERE`."""
    query = (
        select(inputs.c.shard, results.c.outcome, func.count())
        .join(inputs, same_row(inputs, results))
        .where(results.c.run_no == bindparam("run"))
        .group_by(inputs.c.shard, results.c.outcome)
    )
    names = fetch_workspaces(engine, run_no)
    counts: dict[str | None, Counter[Outcome]] = {name: Counter() for name in names.values()}
    for number, word, rows in _stream(engine, query, run_no):
        name = NOWHERE if number is None else names[number]
        counts.setdefault(name, Counter())[_OUTCOMES[word]] += rows
    return counts


class Replaced(NamedTuple):
    """Results that a retry has replaced by its own, but for those on whose calls it went on counting.

    It goes on counting where it has to read the owner back first.
    """

    attempts: int = 0
    """Assign calls."""
    sent: int = 0
    """Results with a call."""
    again: int = 0
    """Rows sent more than once of which the last word alone does not say so."""


def count_replaced(engine: Engine, chain: Chain) -> Replaced:
    """What the last words on the rows of a chain leave out."""
    if not chain.retries:
        return Replaced()
    later = inputs.alias("later")
    numbers = [run.run_no for run in chain.runs]
    replaced = (
        select(results.c.run_no, results.c.row, results.c.attempts)
        .join(later, and_(later.c.row == results.c.row, later.c.run_no > results.c.run_no))
        .where(
            later.c.run_no.in_(numbers[1:]),
            results.c.run_no.in_(numbers),
            results.c.attempts > 0,
            ~is_doubtful(),
        )
        .distinct()
        .subquery()
    )
    before = (
        select(replaced.c.row, func.sum(replaced.c.attempts).label("attempts"), func.count().label("sent"))
        .group_by(replaced.c.row)
        .subquery()
    )
    words = latest(chain.root.run_no).subquery("words")
    last = func.coalesce(results.c.attempts, 0)
    hidden = and_(last <= 1, last + before.c.attempts > 1)
    query = select(
        func.coalesce(func.sum(before.c.attempts), 0),
        func.coalesce(func.sum(before.c.sent), 0),
        func.coalesce(func.sum(case((hidden, 1), else_=0)), 0),
    ).select_from(before.join(words, words.c.row == before.c.row).outerjoin(results, same_row(results, words)))
    with engine.connect() as connection:
        return Replaced(*map(int, connection.execute(query).one()))


def stream_latencies(engine: Engine, chain: Chain) -> Iterator[tuple[int, int]]:
    """(milliseconds, rows) in ascending order, over the rows that were sent, by every run of the chain."""
    run_no: ColumnElement[int] = bindparam("run")
    query = (
        select(results.c.duration_ms, func.count())
        .where(
            results.c.run_no.in_(members(run_no)) if chain.retries else results.c.run_no == run_no,
            results.c.duration_ms.is_not(None),
        )
        .group_by(results.c.duration_ms)
        .order_by(results.c.duration_ms)
    )
    yield from _stream(engine, query, chain.root.run_no)


def fetch_examples(engine: Engine, chain: Chain, rows: Sequence[int]) -> dict[int, tuple[str | None, str | None]]:
    """(error_message, detail) of some rows."""
    view = _View(chain)
    row = view.rows.c.row
    query = view.select(row, results.c.error_message, view.told["detail"]).where(row.in_(rows))
    with engine.connect() as connection:
        found = connection.execute(query, {"run": chain.root.run_no})
        return {number: (message, detail) for number, message, detail in found}


def fetch_workspaces(engine: Engine, run_no: int) -> dict[int, str | None]:
    """Shard -> the workspace it belongs to; None is the API key's own."""
    query = select(shards.c.shard, shards.c.workspace_id).where(shards.c.run_no == run_no)
    with engine.connect() as connection:
        return {shard: workspace for shard, workspace in connection.execute(query)}  # noqa: C416 - typed rows
