"""A result that needs no sending: which columns it has, and what they say of sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, literal

from worker.ledger.tables import results

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select
    from sqlalchemy.sql.elements import ColumnElement

__all__ = ["DECIDED", "decide", "sentinel"]

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


def decide(connection: Connection, rows: Select[Any]) -> int:
    """Give rows their result, a query of `DECIDED`; how many."""
    statement = insert(results).from_select(list(DECIDED), rows)
    return int(connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount)


def sentinel(now: float) -> tuple[ColumnElement[Any], ...]:
    """The last columns of `DECIDED`, from `finished_at` on: nothing was sent."""
    return (literal(now), literal(0), literal(False), literal(False))  # noqa: FBT003 - SQL's false
