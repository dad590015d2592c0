"""Brings an SQLite ledger of an older version up to date, in one transaction, when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy.schema import CreateColumn, CreateTable

from worker.ledger.tables import SCHEMA_VERSION, inputs, owners, results, verifications

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Column, Connection, Engine

__all__ = ["upgrade"]


def upgrade(engine: Engine, version: int) -> None:
    """Take the steps from `version` to the present schema; where another process took them meanwhile, none."""
    with engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")  # of the transaction that every connection begins: it may only read
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
        for step in range(version, SCHEMA_VERSION):
            _STEPS[step](connection)
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.commit()


def _to_2(connection: Connection) -> None:
    """Owners before a write, verifications, undo."""
    _add_column(connection, inputs.c.unassign)
    _add_column(connection, results.c.previous_owner_state)
    for table in (owners, verifications):
        connection.execute(CreateTable(table))


def _add_column(connection: Connection, column: Column[object]) -> None:
    definition = CreateColumn(column).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}")


_STEPS: Final[dict[int, Callable[[Connection], None]]] = {1: _to_2}
"""By the version that each begins with."""
