"""PostgreSQL's ways: leases by the server's clock, COPY, cursors on the server, and connections that come back."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg import errors
from sqlalchemy import Float, cast, extract, func, select, text
from sqlalchemy.exc import DBAPIError

from worker.errors import LedgerWriteError
from worker.ledger.postgres import server_of
from worker.ledger.tables import RESULT_COLUMNS, results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Dialect, Engine, Table
    from sqlalchemy.pool import PoolProxiedConnection
    from sqlalchemy.sql.elements import ColumnElement

    from worker.models import Result

__all__ = ["POSTGRES"]

T = TypeVar("T")

_TURNS: Final = 0x41574B31
"""The advisory lock of those who open, claim or recover runs; `AWK1`."""
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_ROWS_PER_FETCH: Final = 2_000
_END_FROZEN: Final = text(  # application and statement as they are named here
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND usename = current_user AND application_name = 'assign-worker'"
    " AND state = 'active' AND wait_event = 'ClientRead' AND starts_with(query, 'COPY results')"
    " AND query_start < clock_timestamp() - make_interval(secs => :seconds)"
)
_AGAIN: Final = (errors.DeadlockDetected, errors.SerializationFailure)


def _is_lost(error: BaseException, connection: PoolProxiedConnection | None) -> bool:
    """Whether the work may succeed on a new connection, or at once."""
    cause = getattr(error, "orig", None) or error
    if not isinstance(cause, psycopg.Error):
        return False
    if isinstance(cause, _AGAIN) or connection is None:
        return isinstance(cause, (*_AGAIN, psycopg.OperationalError))
    driver = connection.driver_connection
    return driver is None or bool(driver.closed)


def _pauses(may_go_on: Callable[[], bool]) -> Iterator[None]:
    """Waits a little longer each time, until it is no use any more; one more try there is always.

    So a process that was stopped for longer than its lease hears from the fence whether it was taken over.
    """
    pause = _FIRST_PAUSE
    while True:
        time.sleep(pause)
        yield
        if not may_go_on():
            return
        pause = min(pause * 2, _LONGEST_PAUSE)


def _gone(error: BaseException) -> LedgerWriteError:
    cause = getattr(error, "orig", None) or error
    said = (str(cause).strip().splitlines() or [type(cause).__name__])[0][:200]
    return LedgerWriteError(
        f"the ledger's server did not come back in time ({said}); what it recorded is safe, and nothing more was "
        "sent. The same command goes on from here."
    )


class _Session:
    """The writing connection, made anew when it is lost."""

    def __init__(self, engine: Engine, may_go_on: Callable[[], bool]) -> None:
        self._engine = engine
        self._may_go_on = may_go_on
        self._turn = threading.Lock()
        self._connection: PoolProxiedConnection | None = None
        with engine.connect() as connection:
            self._server = server_of(connection)

    def write(self, work: Callable[[Any, bool], None]) -> None:
        """`Session.write`."""
        with self._turn:
            again, pauses = False, _pauses(self._may_go_on)
            while True:
                try:
                    self._once(work, again)
                except Exception as error:
                    lost = _is_lost(error, self._connection)
                    self._end_transaction(lost=lost)
                    if not lost:
                        raise
                    again = True
                    if next(pauses, self) is self:
                        raise _gone(error) from error
                else:
                    return

    def _once(self, work: Callable[[Any, bool], None], again: bool) -> None:  # noqa: FBT001 - as `work` takes it
        if self._connection is None:
            self._connection = self._connect(expected=self._server)
        with contextlib.closing(self._connection.cursor()) as cursor:
            work(cursor, again)
        self._connection.commit()

    def _connect(self, *, expected: str) -> PoolProxiedConnection:
        with self._engine.connect() as connection:
            if server_of(connection) != expected:
                raise LedgerWriteError(
                    "the ledger's server was failed over or restored in mid-run, so it may lack what was last "
                    "recorded; nothing more was sent. The same command goes on and reads back what is open."
                )
        connection_ = self._engine.raw_connection()
        with contextlib.closing(connection_.cursor()) as cursor:
            # A holder that is stopped in mid-transaction must not keep its successor waiting for its locks.
            cursor.execute("SET idle_in_transaction_session_timeout TO '10s'")
        connection_.commit()
        return connection_

    def _end_transaction(self, *, lost: bool) -> None:
        connection = self._connection
        if connection is None:
            return
        if lost:
            self._connection = None
            with contextlib.suppress(Exception):  # of a connection that is gone
                connection.invalidate()
        else:
            connection.rollback()

    def close(self) -> None:
        """`Session.close`."""
        if self._connection is not None:
            self._connection.invalidate()  # not back to the pool: it has settings of its own
            self._connection = None


def _has_nul(row: Sequence[object]) -> bool:
    # Once a row: twice as quick as `any` over a generator.
    for value in row:  # noqa: SIM110 - see above
        if isinstance(value, str) and "\0" in value:
            return True
    return False


def _without_nul(value: object) -> object:
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


class _Bulk:
    """`Bulk` by COPY."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._text = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN"

    def many(self, cursor: Any, rows: Iterable[Sequence[object]]) -> None:  # noqa: ANN401 - of the driver
        """`Bulk.many`. NUL, which PostgreSQL's text cannot hold, becomes U+FFFD."""
        with cursor.copy(self._text) as copy:
            for row in rows:
                copy.write_row([_without_nul(value) for value in row] if _has_nul(row) else row)


class _ResultRows:
    """`ResultWriter`, by COPY."""

    def __init__(self, run_no: int) -> None:
        self._run_no = run_no
        self._bulk = _Bulk(results, ("run_no", *RESULT_COLUMNS))

    def insert(self, cursor: Any, batch: Sequence[Result]) -> None:  # noqa: ANN401 - of the driver
        """`ResultWriter.insert`."""
        self._bulk.many(cursor, [(self._run_no, *result) for result in batch])


class _Store:
    """`Store`."""

    has_leases = True
    begin = None

    @staticmethod
    def greatest(*values: Any) -> ColumnElement[Any]:  # noqa: ANN401 - SQL expressions
        """`Store.greatest`."""
        return func.greatest(*values)

    @staticmethod
    def clock() -> ColumnElement[float]:
        """`Store.clock`."""
        return cast(extract("epoch", func.clock_timestamp()), Float)

    @staticmethod
    def take_turns(connection: Connection) -> None:
        """`Store.take_turns`: by an advisory lock of the database."""
        connection.execute(select(func.pg_advisory_xact_lock(_TURNS)))

    @staticmethod
    def end_frozen_writes(connection: Connection, seconds: float) -> int:
        """`Store.end_frozen_writes`.

        The limits on a session's idling do not see them: the server takes a COPY whose client says nothing for work,
        for as long as that client's machine answers.
        """
        return int(connection.execute(_END_FROZEN, {"seconds": seconds}).scalar_one())

    @staticmethod
    def note_sizes(connection: Connection) -> None:
        """`Store.note_sizes`: until autovacuum came by, joins of tables that were just filled would be nested loops."""
        connection.exec_driver_sql("ANALYZE inputs, results, unsettled, owners, verifications")

    @staticmethod
    def result_rows(dialect: Dialect, run_no: int) -> _ResultRows:  # noqa: ARG004 - COPY is text
        """`Store.result_rows`."""
        return _ResultRows(run_no)

    @staticmethod
    def bulk(table: Table, columns: Sequence[str]) -> _Bulk:
        """`Store.bulk`."""
        return _Bulk(table, columns)

    @staticmethod
    def session(engine: Engine, may_go_on: Callable[[], bool]) -> _Session:
        """`Store.session`."""
        return _Session(engine, may_go_on)

    @staticmethod
    def cursor(connection: Any) -> Any:  # noqa: ANN401 - of the driver
        """`Store.cursor`: on the server, for one transaction."""
        cursor = connection.driver_connection.cursor(name="assign_worker")
        cursor.itersize = _ROWS_PER_FETCH
        return cursor

    @staticmethod
    def persist(read: Callable[[], T], may_go_on: Callable[[], bool]) -> T:
        """`Store.persist`."""
        pauses = _pauses(may_go_on)
        while True:
            try:
                return read()
            except (psycopg.OperationalError, DBAPIError) as error:
                if not _is_lost(error, None) or next(pauses, POSTGRES) is POSTGRES:
                    raise


POSTGRES: Final = _Store()
