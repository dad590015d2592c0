"""A ledger that version 1 made is brought up to date by whoever opens it, and what stood in it goes on."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import column, create_engine, insert, inspect, select, table

from tests.batch.test_batch import assigns, service, settings, write
from worker import Control, Outcome, run_batch
from worker.errors import LedgerError, LedgerHeldError
from worker.ledger import Ledger, migrations
from worker.ledger.postgres import server_of
from worker.ledger.sqlite import APPLICATION_ID
from worker.ledger.tables import SCHEMA_VERSION
from worker.models import StopCause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from tests.servers import Server
    from worker import Progress

VERSION_1 = (Path(__file__).parent / "version_1.sql").read_text(encoding="utf-8")
TABLES = ("runs", "shards", "inputs", "results", "unsettled")


def for_postgres(ddl: str) -> str:
    """The same schema as it is made on a server: numbers of runs by a sequence, no foreign keys."""
    ddl = re.sub(r",\n +FOREIGN KEY[^\n]*", "", ddl.replace("\n WITHOUT ROWID", ""))
    ddl = ddl.replace("run_no INTEGER NOT NULL,\n    id ", "run_no BIGSERIAL NOT NULL,\n    id ")
    return ddl.replace("run_no INTEGER", "run_no BIGINT").replace("parent_no INTEGER", "parent_no BIGINT")


def make_version_1(url: str) -> None:
    """An empty ledger of version 1."""
    if not url.startswith("postgresql"):
        with sqlite3.connect(url) as connection:
            connection.executescript(VERSION_1)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute("PRAGMA user_version=1")
        connection.close()
        return
    with psycopg.connect(url) as server:
        server.execute("CREATE SCHEMA assign_worker")
        server.execute("SET search_path TO assign_worker")
        server.execute(for_postgres(VERSION_1).encode())
        server.execute("CREATE TABLE ledger (version INTEGER NOT NULL, server TEXT NOT NULL)")
        server.execute("INSERT INTO ledger VALUES (1, '')")


def engine_on(url: str) -> Engine:
    """Without a look at its version."""
    if not url.startswith("postgresql"):
        return create_engine(f"sqlite:///{url}")
    return create_engine(
        url.replace("postgresql", "postgresql+psycopg", 1),
        connect_args={"options": "-c search_path=assign_worker"},
    )


def copy_rows(source: str, target: str) -> None:
    """What version 1 would have recorded of what stands in the source."""
    there, here = engine_on(source), engine_on(target)
    with there.connect() as reading, here.begin() as writing:
        for name in TABLES:
            columns: list[Any] = [column(each["name"]) for each in inspect(writing).get_columns(name)]
            rows = [dict(row._mapping) for row in reading.execute(select(*columns).select_from(table(name)))]
            if rows:
                writing.execute(insert(table(name, *columns)), rows)
        if here.dialect.name == "postgresql":
            writing.exec_driver_sql("SELECT setval('runs_run_no_seq', (SELECT max(run_no) FROM runs))")
            writing.exec_driver_sql("UPDATE ledger SET server = %s", (server_of(writing),))
    there.dispose()
    here.dispose()


def schema_of(engine: Engine) -> dict[str, Any]:
    """Columns and indexes of all tables."""
    found = inspect(engine)
    return {
        name: (
            {each["name"] for each in found.get_columns(name)},
            {each["name"] for each in found.get_indexes(name)},
        )
        for name in found.get_table_names()
    }


@pytest.fixture
def fresh_url(request: pytest.FixtureRequest, ledger_url: str, tmp_path: Path) -> Iterator[str]:
    """A second ledger on the same store."""
    if not ledger_url.startswith("postgresql"):
        yield str(tmp_path / "fresh.db")
        return
    postgres: Server = request.getfixturevalue("postgres")
    name = postgres.new_database()
    yield postgres.url(name)
    postgres.drop(name)


def version_of(url: str) -> int:
    """As it stands in a ledger on a server."""
    with psycopg.connect(url) as server:
        found = server.execute("SELECT version FROM assign_worker.ledger").fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.parametrize("exclusive", [True, False])
def test_it_gets_the_schema_of_a_fresh_one(ledger_url: str, fresh_url: str, *, exclusive: bool) -> None:
    """Tables, columns and indexes; once, whoever opens it first."""
    make_version_1(ledger_url)
    Ledger(fresh_url, exclusive=True).close()
    for _ in range(2):
        with Ledger(ledger_url, exclusive=exclusive) as upgraded, Ledger(fresh_url, exclusive=False) as fresh:
            assert schema_of(upgraded.engine) == schema_of(fresh.engine)


async def test_an_open_run_goes_on(ledger_url: str, fresh_url: str, tmp_path: Path) -> None:
    """What was settled before is not sent again, what was not is; and a retry finds its way in it."""
    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 201)])
    control = Control()

    def watch(progress: Progress) -> None:
        if progress.done > 20:
            control.stop(StopCause.SIGTERM)

    async with service(limit={"kind": "token_bucket", "rate": 100, "burst": 5}) as server:
        first = await run_batch(jobs, settings(server, ledger=fresh_url), control=control, watch=watch)
        server.configure({"limit": {"kind": "none"}})
        await asyncio.to_thread(make_version_1, ledger_url)
        await asyncio.to_thread(copy_rows, fresh_url, ledger_url)
        second = await run_batch(jobs, settings(server, ledger=ledger_url))
        again = await run_batch(jobs, settings(server, ledger=ledger_url, sync=True), again=True)
        assert set(assigns(server).values()) == {1}
    assert (first.exit_code, second.exit_code, second.run_id) == (143, 0, first.run_id)
    assert second.outcomes == {Outcome.ASSIGNED: 200}
    assert again.outcomes == {Outcome.UNCHANGED: 200}


def test_a_step_that_fails_leaves_it_as_it_was(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps or none; the next try takes them."""
    make_version_1(ledger_url)
    engine = engine_on(ledger_url)
    before = schema_of(engine)
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "create_table", lambda *_: 1 / 0)
        with pytest.raises((LedgerError, ZeroDivisionError)):
            Ledger(ledger_url, exclusive=True)
    assert schema_of(engine) == before
    engine.dispose()
    Ledger(ledger_url, exclusive=True).close()


def test_several_open_it_at_once(ledger_url: str) -> None:
    """One takes the steps, the others find it done."""
    make_version_1(ledger_url)

    def look() -> int:
        with Ledger(ledger_url, exclusive=False) as ledger:
            return len(schema_of(ledger.engine))

    with ThreadPoolExecutor(4) as pool:
        assert len({future.result() for future in [pool.submit(look) for _ in range(4)]}) == 1


@pytest.mark.parametrize("how", ["connected", "leased"])
def test_it_waits_until_nobody_works_on_it(database: str, how: str) -> None:
    """Exit code 4 and who it is; as soon as they have gone, it is brought up to date."""
    make_version_1(database)
    with psycopg.connect(database, autocommit=True, application_name="assign-worker fleet") as other:
        if how == "leased":
            other.execute("SET application_name TO 'something else'")
            holder = json.dumps({"host": "elsewhere", "pid": 7, "started_at": 0, "machine": "other"})
            other.execute(
                "INSERT INTO assign_worker.shards VALUES (1, 0, NULL, 1, 1, %s, extract(epoch FROM now()) + 60, 0)",
                (holder,),
            )
        who = "process 7 on elsewhere" if how == "leased" else "1 other connection of assign-worker"
        with pytest.raises(LedgerHeldError, match=rf"older version \(1\).*{who}"):
            Ledger(database, exclusive=True)
        assert version_of(database) == 1
        other.execute("DELETE FROM assign_worker.shards")
    Ledger(database, exclusive=True).close()
    assert version_of(database) == SCHEMA_VERSION


def test_only_its_owner_may(database: str) -> None:
    """A role that may but read is told who can."""
    make_version_1(database)
    with psycopg.connect(database, autocommit=True) as server:
        server.execute("CREATE ROLE reader_of_old")
        try:
            server.execute("GRANT USAGE ON SCHEMA assign_worker TO reader_of_old")
            server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA assign_worker TO reader_of_old")
            as_reader = f"{database}{'&' if '?' in database else '?'}options=-c%20role%3Dreader_of_old"
            with pytest.raises(LedgerError, match="only the role that owns its tables"):
                Ledger(as_reader, exclusive=False)
        finally:
            server.execute("DROP OWNED BY reader_of_old")
            server.execute("DROP ROLE reader_of_old")
    assert version_of(database) == 1
