"""SQLite's ways: one writer, whose lock on the file is the fence."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import func

from worker.ledger.result_rows import ResultRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection, Dialect, Engine, Table
    from sqlalchemy.sql.elements import ColumnElement

__all__ = ["SQLITE"]

T = TypeVar("T")


class _Session:
    """The one writing connection. A write that fails is not tried again: nobody knows what reached the disk."""

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.raw_connection()
        self._turn = threading.Lock()

    def write(self, work: Callable[[Any, bool], None]) -> None:
        """`Session.write`."""
        with self._turn:
            cursor = self._connection.cursor()
            try:
                cursor.execute("BEGIN IMMEDIATE")
                work(cursor, False)  # noqa: FBT003 - never again
                self._connection.commit()
            except BaseException:
                self._connection.rollback()
                raise
            finally:
                cursor.close()

    def close(self) -> None:
        """`Session.close`."""
        self._connection.close()


class _Bulk:
    """`Bulk` by one statement that the driver repeats, in C."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        places = ", ".join("?" * len(columns))
        self._text = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - names of ours

    def many(self, cursor: Any, rows: Iterable[Sequence[object]]) -> None:  # noqa: ANN401 - any DBAPI cursor
        """`Bulk.many`."""
        cursor.executemany(self._text, rows)


class _Store:
    """`Store`."""

    has_leases = False
    begin = "BEGIN"

    @staticmethod
    def greatest(*values: Any) -> ColumnElement[Any]:  # noqa: ANN401 - SQL expressions
        """`Store.greatest`."""
        return func.max(*values)

    @staticmethod
    def clock() -> ColumnElement[float]:
        """`Store.clock`: this machine's."""
        return func.unixepoch("subsec")

    @staticmethod
    def take_turns(connection: Connection) -> None:
        """`Store.take_turns`: the lock on the file has seen to it."""

    @staticmethod
    def end_frozen_writes(connection: Connection, seconds: float) -> int:  # noqa: ARG004 - likewise
        """`Store.end_frozen_writes`: as long as one lives, nobody takes over."""
        return 0

    @staticmethod
    def note_sizes(connection: Connection) -> None:
        """`Store.note_sizes`: its plans do not hang on sizes."""

    @staticmethod
    def result_rows(dialect: Dialect, run_no: int) -> ResultRows:
        """`Store.result_rows`."""
        return ResultRows(dialect, run_no)

    @staticmethod
    def bulk(table: Table, columns: Sequence[str]) -> _Bulk:
        """`Store.bulk`."""
        return _Bulk(table, columns)

    @staticmethod
    def session(engine: Engine, may_go_on: Callable[[], bool]) -> _Session:  # noqa: ARG004 - nothing to make anew
        """`Store.session`."""
        return _Session(engine)

    @staticmethod
    def cursor(connection: Any) -> Any:  # noqa: ANN401 - of the driver
        """`Store.cursor`: as every cursor of this driver is."""
        return connection.cursor()

    @staticmethod
    def persist(read: Callable[[], T], may_go_on: Callable[[], bool]) -> T:  # noqa: ARG004 - nothing to wait for
        """`Store.persist`."""
        return read()


SQLITE: Final = _Store()
