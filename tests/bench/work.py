"""How much a database does for a piece of code, in steps or rows: the same on every machine, however busy.

SQLite counts the instructions of its virtual machine. PostgreSQL tells, for each statement, how many rows passed each
step of its plan.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import psycopg
from sqlalchemy import Engine, event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Work", "counted"]

_STEPS: Final = 100
"""Instructions from one count to the next."""
_PLANNED: Final = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")
_ROWS: Final = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")


class Work:
    """What was counted so far."""

    def __init__(self) -> None:
        self.amount = 0.0

    def tick(self) -> int:
        """SQLite's progress handler; 0 lets it go on."""
        self.amount += _STEPS
        return 0

    def add_plan(self, node: dict[str, Any]) -> None:
        """PostgreSQL's plan, with what really happened."""
        self.amount += node["Actual Loops"] * (1 + sum(node.get(name, 0) for name in _ROWS))
        for part in node.get("Plans", ()):
            self.add_plan(part)


@contextmanager
def counted() -> Iterator[Work]:
    """Count what is done on connections that are made in this block, in any thread."""
    work = Work()

    def watch(connection: Any, _entry: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_progress_handler(work.tick, _STEPS)

    event.listen(Engine, "connect", watch)
    try:
        with (
            mock.patch.object(psycopg.Cursor, "execute", _explained(psycopg.Cursor.execute, work)),
            mock.patch.object(psycopg.ServerCursor, "execute", _explained(psycopg.ServerCursor.execute, work)),
        ):
            yield work
    finally:
        event.remove(Engine, "connect", watch)


def _explained(execute: Callable[..., Any], work: Work) -> Callable[..., Any]:
    """`execute` of a cursor, which has the statement done once more before, for its plan, and undone."""
    plain = psycopg.Cursor.execute

    def explained(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        if isinstance(query, str) and _PLANNED.match(query):
            cursor = psycopg.Cursor(self.connection)
            plain(cursor, "SAVEPOINT counted")
            plain(cursor, f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query}", params)
            for (told,) in cursor.fetchall():
                work.add_plan((json.loads(told) if isinstance(told, str) else told)[0]["Plan"])
            plain(cursor, "ROLLBACK TO counted")
        return execute(self, query, params, **options)

    return explained
