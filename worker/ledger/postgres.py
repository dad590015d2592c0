"""A ledger on a PostgreSQL server: where it is, how it is opened, and whether the server is still the one it was.

Its tables stand in a schema of their own, so that the database may hold other things too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, event, inspect, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.schema import CreateIndex, CreateSchema

from worker.errors import LedgerError
from worker.ledger.doubts import doubt_rows
from worker.ledger.migrations import create_table
from worker.ledger.postgres_upgrade import upgrade_postgres
from worker.ledger.store import store_of
from worker.ledger.tables import SCHEMA_VERSION, metadata, runs

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["CONNECT", "SCHEMA", "open_postgres", "server_of"]

SCHEMA: Final = "assign_worker"

_SESSION: Final = (
    f"SET search_path TO {SCHEMA}",
    "SET synchronous_commit TO on",
    "SET default_transaction_isolation TO 'read committed'",
    # Plans follow the size that a table has now: `results` is empty when the first one is made.
    "SET plan_cache_mode TO force_custom_plan",
)
_POOLED: Final = 5
"""Connections that stay when they are not needed."""
_CONNECTIONS: Final = 15
CONNECT: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "application_name": "assign-worker",
}
"""libpq's own words; the URL's go before them. A server that vanished is noticed within half a lease."""

_about = Table(
    "ledger",
    MetaData(),
    Column("version", Integer, nullable=False),
    Column("server", Text, nullable=False, comment="which server it was on when it was last opened, and its timeline"),
)


_WHICH: Final = text(
    "SELECT (SELECT system_identifier FROM pg_control_system())"
    " || ' ' || (SELECT oid FROM pg_database WHERE datname = current_database())"
    " || ' ' || CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END"
)


def server_of(connection: Connection) -> str:
    """Which server answers, and on which timeline."""
    return str(connection.execute(_WHICH).scalar_one())


def open_postgres(url: str, *, place: str, create: bool, connections: int | None = None) -> Engine:
    """The engine on the ledger in this database, made there if `create` and it is not; brought up to date if older.

    Args:
        url: `postgresql://…`.
        place: the same for people, without its password.
        create: for a process that writes.
        connections: at most; None: enough for one run.

    Raises:
        LedgerError: the driver is missing, the server or database cannot be used, or holds something else under our
            schema's name, or a newer ledger. It is left as it was.
        LedgerHeldError: it is an older ledger, which would be brought up to date, and others work on it.
    """
    engine = _engine(url, place, connections or _CONNECTIONS)
    try:
        with engine.begin() as connection:
            _prepare(connection, place, create=create)
    except DBAPIError as error:
        engine.dispose()
        raise LedgerError(f"cannot use the ledger {place}: {_first_line(error)}") from None
    except BaseException:
        engine.dispose()
        raise
    return engine


def _engine(url: str, place: str, connections: int) -> Engine:
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
        if parsed.password and "@" in f"{parsed.host}{parsed.database}":  # which are told where they cannot be reached
            raise LedgerError(
                "the ledger URL cannot be read: there is an @ in its password, or behind it; write it %40, and / as %2F"
            )
        parsed = parsed.set(query={**CONNECT, **parsed.query})
        engine = create_engine(
            parsed,
            hide_parameters=True,  # errors must not carry rows
            paramstyle="format",  # plain tuples for statements that are built once
            pool_pre_ping=True,
            max_overflow=connections - _POOLED,
        )
    except ModuleNotFoundError:
        raise LedgerError(
            "a PostgreSQL ledger needs its driver: pip install '.[postgres]' in a checkout, then run it again"
        ) from None
    except (ArgumentError, ValueError):
        raise LedgerError(
            f"the ledger URL {place} cannot be read; postgresql://USER@HOST:PORT/DATABASE is the form"
        ) from None

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _entry: ConnectionPoolEntry) -> None:  # noqa: ANN401 - of the driver
        connection.autocommit = True
        for setting in _SESSION:
            connection.execute(setting)
        connection.autocommit = False

    return engine


def _first_line(error: DBAPIError) -> str:
    said = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    return said[0][:200]


def _prepare(connection: Connection, place: str, *, create: bool) -> None:
    """See what is there; make what is missing, if `create`."""
    if create:
        store_of(connection.dialect).take_turns(connection)
    found = inspect(connection).get_table_names(schema=SCHEMA)
    if not found:
        if not create:
            raise LedgerError(f"there is no ledger in {place}; name it with --ledger")
        _create(connection)
        return
    if _about.name not in found or runs.name not in found:
        raise LedgerError(
            f"the schema {SCHEMA} in {place} is not a ledger of assign-worker; it was left as it is. "
            "Name another database with --ledger."
        )
    version, server = connection.execute(select(_about.c.version, _about.c.server)).one()
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger {place} was written by a newer assign-worker (version {version}, this one knows "
            f"{SCHEMA_VERSION}); update assign-worker, or name another --ledger"
        )
    if version < SCHEMA_VERSION:
        store_of(connection.dialect).take_turns(connection)
        version = connection.execute(select(_about.c.version)).scalar_one()  # another process may have been quicker
    if version < SCHEMA_VERSION:
        upgrade_postgres(connection, version, place)
        connection.execute(update(_about).values(version=SCHEMA_VERSION))
    if create:
        _notice_failover(connection, str(server))


def _create(connection: Connection) -> None:
    if SCHEMA not in inspect(connection).get_schema_names():  # who was given it needs no right to make one
        connection.execute(CreateSchema(SCHEMA))
    for table in (*metadata.sorted_tables, _about):
        create_table(connection, table)
        for index in table.indexes:
            connection.execute(CreateIndex(index))
    connection.execute(_about.insert().values(version=SCHEMA_VERSION, server=server_of(connection)))


def _notice_failover(connection: Connection, known: str) -> None:
    """After a failover or a restore the marks may be older than what was sent: every open row is in doubt."""
    now = server_of(connection)
    if now == known:
        return
    for run_no in connection.execute(select(runs.c.run_no).where(runs.c.state == "open")).scalars().all():
        doubt_rows(connection, run_no)
    connection.execute(update(_about).values(server=now))
