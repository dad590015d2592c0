"""The steps that bring a ledger of an older version up to date, on either store, within a transaction of the caller's.

Whoever opens such a ledger takes them, under a lock, all or none: `sqlite` and `postgres` know how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy.schema import CreateColumn, CreateTable

from worker.ledger.tables import SCHEMA_VERSION, inputs, owners, results, verifications

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Column, Connection, Table

__all__ = ["create_table", "take_steps"]


def take_steps(connection: Connection, version: int) -> None:
    """Take all steps from `version` to the present schema; the caller notes the new version in the same transaction."""
    for step in range(version, SCHEMA_VERSION):
        _STEPS[step](connection)


def create_table(connection: Connection, table: Table) -> None:
    """Make a table as a fresh ledger has it, without its indexes."""
    if connection.dialect.name == "sqlite":
        connection.execute(CreateTable(table))
    else:
        # Without foreign keys: our own statements name only rows they have just read, and checks cost a lookup a row.
        connection.execute(CreateTable(table, include_foreign_key_constraints=[]))


def _to_2(connection: Connection) -> None:
    """Owners before a write, verifications, undo."""
    _add_column(connection, inputs.c.unassign)
    _add_column(connection, results.c.previous_owner_state)
    for table in (owners, verifications):
        create_table(connection, table)


def _add_column(connection: Connection, column: Column[object]) -> None:
    definition = CreateColumn(column).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}")


_STEPS: Final[dict[int, Callable[[Connection], None]]] = {1: _to_2}
"""By the version that each begins with."""
