"""No command's work in the ledger grows with the square of its rows: counted for some rows and four times as many.

A join without an index is quick over the rows of a test and takes minutes over those of a building. Nothing is timed.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from tests.batch.test_batch import write
from tests.bench.work import counted
from tests.cli.conftest import _plain_surroundings  # noqa: F401 - a fixture for each test here too
from tests.cli.service import Service, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers import Server

ROWS: Final = 400
TIMES: Final = 4
MOST: Final = 1.4 * TIMES
"""A sort may take a little more than so many times as long; the square would be sixteen times."""


@pytest.fixture(scope="module")
def simulator() -> Iterator[Service]:
    """A service in a process of its own, which knows nine of ten people."""
    with Service() as running:
        running.configure(world={"systems_per_workspace": 1, "unknown_users": 0.1}, log="applied")
        yield running


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_no_command_grows_with_the_square(
    store: str, tmp_path: Path, simulator: Service, request: pytest.FixtureRequest
) -> None:
    """All that go through a whole run, as its rows grow."""
    found = []
    for rows in (ROWS, TIMES * ROWS):
        folder = tmp_path / str(rows)
        folder.mkdir()
        if store == "sqlite":
            found.append(_works(Ground(folder, simulator, str(folder / "ledger.db"), rows)))
            continue
        server: Server = request.getfixturevalue("postgres")
        ledger = server.url(server.new_database())
        with _tidied(ledger):
            found.append(_works(Ground(folder, simulator, ledger, rows)))
    few, many = found
    assert min(few.values()) > ROWS, few  # of each command, every row was seen
    grown = {command: round(many[command] / few[command], 2) for command in few}
    assert not {command: times for command, times in grown.items() if times > MOST}, grown


@contextmanager
def _tidied(ledger: str) -> Iterator[None]:
    """What the server knows of its tables' sizes is from any moment, as with autovacuum: no plan may hang on which."""
    over = threading.Event()

    def tidy() -> None:
        chance = random.Random(1)  # noqa: S311 - no secret
        with psycopg.connect(ledger, autocommit=True) as server:
            while not over.wait(chance.uniform(0.0, 0.3)):
                there = server.execute("TABLE pg_tables").fetchall()  # no SELECT, which would be counted
                ours = [name for schema, name, *_ in there if schema == "assign_worker"]
                if ours:
                    server.execute(f"VACUUM (ANALYZE, SKIP_LOCKED) assign_worker.{chance.choice(ours)}".encode())

    with ThreadPoolExecutor(1) as threads:
        tidying = threads.submit(tidy)
        try:
            yield
        finally:
            over.set()
        tidying.result()


@dataclass(frozen=True)
class Ground:
    """Where runs of some size happen."""

    folder: Path
    service: Service
    ledger: str
    rows: int

    def write(self, name: str, person_of: Callable[[int], int], more: int = 0) -> Path:
        """A file of all credentials, and some more, each for a person."""
        own = self.rows * 1_000  # no two sizes have to do with each other's credentials
        return write(
            self.folder / name,
            [(own + number, own + 100_000_000 * person_of(number) + number) for number in range(self.rows + more)],
        )

    def work_of(self, *words: object) -> float:
        """What the database does for a command, which ends well but for rows that are refused."""
        environ = self.service.environ(
            ASSIGN_WORKER_LEDGER=self.ledger,
            ASSIGN_WORKER_RESULTS=str(self.folder / "results.csv"),
            ASSIGN_WORKER_TIMEOUT="2",
        )
        with counted() as work:
            ended = call([*words, "--json"] if words[0] != "results" else words, environ)
        assert ended.code in {0, 1}, ended
        return work.amount

    def break_off(self) -> None:
        """Make it look as if the latest run had been killed in its midst, with a part of its rows on their way."""
        half = self.rows // 2
        statements = (
            f"DELETE FROM results WHERE row > {half} AND run_no = (SELECT max(run_no) FROM runs)",  # noqa: S608 - ours
            f"UPDATE shards SET dispatched_through = {half + half // 2}",  # noqa: S608 - ours
            "UPDATE runs SET state = 'open' WHERE run_no = (SELECT max(run_no) FROM runs)",
        )
        if self.ledger.startswith("postgresql"):
            with psycopg.connect(self.ledger) as server:
                server.execute("SET search_path TO assign_worker")
                for statement in statements:
                    server.execute(statement.encode())
        else:
            with closing(sqlite3.connect(self.ledger)) as file, file:
                for statement in statements:
                    file.execute(statement)


def _works(ground: Ground) -> dict[str, float]:
    """Command -> its work, each on what the ones before it left."""
    found = {}
    other = ground.write("other.csv", lambda _: 1)
    ground.work_of("run", other)  # makes the tables, and is what the others are looked for in
    jobs = ground.write("jobs.csv", lambda _: 1)
    found["run"] = ground.work_of("run", jobs)
    ground.break_off()
    found["run, resumed"] = ground.work_of("run", jobs)
    ground.break_off()
    jobs = ground.write("jobs.csv", lambda number: 2 if number % 5 == 0 else 1, more=1)
    found["run, of a changed file"] = ground.work_of("run", jobs)
    found["retry"] = ground.work_of("retry", "--outcome", "failed")
    jobs = ground.write("jobs.csv", lambda number: 3 if number % 3 == 0 else 1)
    found["plan"] = ground.work_of("plan", jobs, "--results", ground.folder / "plan.csv")
    found["run --sync"] = ground.work_of("run", jobs, "--sync", "--takeover", "allow")
    found["verify"] = ground.work_of("verify", "--results", ground.folder / "verified.csv")
    found["undo --dry-run"] = ground.work_of("undo", "--dry-run")
    found["undo"] = ground.work_of("undo", "--results", ground.folder / "undone.csv")
    found["show"] = ground.work_of("show")
    found["results"] = ground.work_of("results", "-o", ground.folder / "again.csv")
    repeated = write(
        ground.folder / "repeated.csv", [(1 + number // 2, 1 + number % 3) for number in range(ground.rows)]
    )
    found["check"] = ground.work_of("check", repeated)
    found["run, most rows repeated"] = ground.work_of("run", repeated)
    if ground.ledger.startswith("postgresql"):
        found["fleet submit"] = ground.work_of("fleet", "submit", jobs, "--again")  # it was undone
        found["fleet status"] = ground.work_of("fleet", "status")
    return found
