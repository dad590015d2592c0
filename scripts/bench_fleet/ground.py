"""Where a fleet is measured: a database of its own, a service, workers as processes, and what the ledger tells."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
from bench_speed.processes import TOKEN, WORKER, WORKER_PYTHON, Ended, FailedError, Running

from worker.fleet.engine import install
from worker.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers import Server

__all__ = ["HASTY", "Ground", "end_all", "open_ground", "wait_for"]

HASTY: Final = (WORKER_PYTHON, "-m", "tests.fleet.driver")
"""The command with the fleet's times made short, as its tests have them."""
PATIENCE: Final = 600.0
"""Seconds after which a fleet that gets no further is given up."""


@dataclass(frozen=True)
class Ground:
    """One ledger on PostgreSQL, and the service that its runs are for."""

    ledger: str
    """A URL."""
    endpoint: str
    _connection: psycopg.Connection[tuple[Any, ...]]
    """Kept, since each new one would cost the machine a process."""

    @property
    def keys(self) -> dict[str, str]:
        """An environment that leads here."""
        return {**TOKEN, "ASSIGN_WORKER_LEDGER": self.ledger, "SEAM_ENDPOINT": self.endpoint}

    def start(self, *words: object, command: tuple[object, ...] = (WORKER,)) -> Running:
        """Start a command."""
        return Running([*command, *words], keys=self.keys)

    def run(self, *words: object, command: tuple[object, ...] = (WORKER,)) -> Ended:
        """A command to its end, exit code 0."""
        with self.start(*words, command=command) as running:
            return running.end()

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """One query of the ledger, with values for its `%s`."""
        return self._connection.execute(query.encode(), values).fetchall()

    @contextmanager
    def workers(self, count: int, *options: object, command: tuple[object, ...] = (WORKER,)) -> Iterator[list[Running]]:
        """So many more workers, alive and without work so far; killed at the end where they still run."""
        alive = "SELECT count(*) FROM assign_worker.procrastinate_workers"
        ((before,),) = self.ask(alive)
        with ExitStack() as stack:
            started = [
                stack.enter_context(self.start("fleet", "worker", *options, command=command)) for _ in range(count)
            ]
            wait_for(lambda: self.ask(alive) == [(before + count,)])
            yield started

    def submit(self, jobs: Path) -> Ended:
        """Hand a file to the fleet."""
        return self.run("fleet", "submit", jobs, "--json")

    def wait_until_sent(self, rows: int) -> None:
        """Until so many rows have results."""
        wait_for(lambda: self.ask("SELECT count(*) FROM assign_worker.results")[0][0] >= rows)

    def wait_until_done(self) -> None:
        """Until the run is finished."""
        wait_for(lambda: self.ask("SELECT state FROM assign_worker.runs") == [("finished",)])

    def sending_seconds(self, rows: int) -> float:
        """From the first request of the run to its last result; all of these rows are assigned.

        Raises:
            FailedError: they are not.
        """
        ((assigned, seconds),) = self.ask(
            "SELECT count(*) FILTER (WHERE outcome = 'assigned'), max(finished_at) - min(started_at)"
            " FROM assign_worker.results"
        )
        if assigned != rows:
            raise FailedError(f"{assigned} of {rows} rows are assigned")
        return float(seconds)


@contextmanager
def open_ground(server: Server, endpoint: str) -> Iterator[Ground]:
    """A database of this server's with an empty ledger and the engine's tables, dropped at the end."""
    name = server.new_database()
    try:
        with Ledger(server.url(name), exclusive=True) as ledger:  # as `fleet init` does
            install(ledger.engine)
        with psycopg.connect(server.url(name), autocommit=True) as connection:
            yield Ground(server.url(name), endpoint, connection)
    finally:
        server.drop(name)


def end_all(workers: list[Running]) -> list[Ended]:
    """Stop workers in order, by SIGTERM; what each used."""
    for worker in workers:
        worker.send(signal.SIGTERM)
    return [worker.end(codes=(128 + signal.SIGTERM,)) for worker in workers]


def wait_for(reached: Callable[[], bool]) -> None:
    """Until it is so; each look costs the machine something.

    Raises:
        FailedError: it takes too long.
    """
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > deadline:
            raise FailedError("the fleet got no further")
        time.sleep(0.05)
