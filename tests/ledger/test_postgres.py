"""A ledger on a server: what may be opened, who holds what, and what a lost connection loses (nothing)."""

from __future__ import annotations

import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import select, text, update

from tests.ledger.filling import NOW, claimed, result, row, settle, staged
from worker.claim import Batch, Claim
from worker.errors import FenceLostError, LedgerError, LedgerHeldError, LedgerWriteError
from worker.leases import Lease
from worker.ledger import Ledger, holder
from worker.ledger.claimed import ClaimedRun
from worker.ledger.claims import claim_free, claim_run, claim_shards, fetch_fresh, hold_run
from worker.ledger.queries import stream_export
from worker.ledger.runs import create_run, discard_staging, get_run
from worker.ledger.staging import stage
from worker.ledger.store import store_of
from worker.ledger.tables import results, runs, shards, unsettled
from worker.ledger.writing import ShardWriter
from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from tests.servers import Server
    from worker.ledger.runs import Run

ELSEWHERE = '{"host": "far", "pid": 7, "started_at": 1700000000.0, "machine": "another"}'
"""A process that nothing is known of from here."""
_STANDING_STILL = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY %' AND wait_event = 'ClientRead'")


@pytest.fixture
def ledger(database: str) -> Iterator[Ledger]:
    """An empty ledger on a server."""
    with Ledger(database, exclusive=True) as opened:
        yield opened


def settled(engine: Engine, run: Run) -> list[int]:
    """The rows that have a result."""
    with engine.connect() as connection:
        query = select(results.c.row).where(results.c.run_no == run.run_no).order_by(results.c.row)
        return list(connection.execute(query).scalars())


# What may be opened.


def test_reading_makes_nothing(database: str) -> None:
    """A command that only reads does not make a ledger where there is none."""
    with pytest.raises(LedgerError, match="there is no ledger in postgresql://"):
        Ledger(database, exclusive=False)
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT 1 FROM information_schema.schemata WHERE schema_name = 'assign_worker'")
        assert found.fetchone() is None


def test_other_tables_are_left_alone(database: str) -> None:
    """A database may hold other things; something else under our schema's name is refused."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.runs (x int)")
        Ledger(database, exclusive=True).close()
        connection.execute("DROP SCHEMA assign_worker CASCADE")
        connection.execute("CREATE SCHEMA assign_worker CREATE TABLE runs (x int)")
        with pytest.raises(LedgerError, match="is not a ledger of assign-worker"):
            Ledger(database, exclusive=True)
        assert connection.execute("SELECT * FROM assign_worker.runs, public.runs").fetchall() == []


def test_a_newer_ledger_is_refused(database: str) -> None:
    """Its tables may mean something else."""
    Ledger(database, exclusive=True).close()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE assign_worker.ledger SET version = 99")
    for exclusive in (True, False):
        with pytest.raises(LedgerError, match="newer assign-worker"):
            Ledger(database, exclusive=exclusive)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:hunter2@127.0.0.1:9/x", "cannot use the ledger postgresql://me:\\*\\*\\*@127.0.0.1:9/x"),
        ("postgresql://me:hunter2@127.0.0.1:port/x", "cannot be read"),
        ("mysql://me:hunter2@127.0.0.1/x", "mysql://… is not known"),
    ],
)
def test_a_server_that_cannot_be_used(url: str, said: str) -> None:
    """One sentence, without the password."""
    with pytest.raises(LedgerError, match=said) as raised:
        Ledger(url, exclusive=True)
    assert "hunter2" not in str(raised.value)
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


def test_a_database_that_is_not_there(postgres: Server) -> None:
    """The server says so, and the sentence passes it on."""
    with pytest.raises(LedgerError, match='database "nowhere" does not exist'):
        Ledger(postgres.url("nowhere"), exclusive=True)


def test_a_role_without_rights_is_told(postgres: Server, database: str) -> None:
    """Who may not make the schema hears it at once; who was given one needs no other right."""
    name = urlsplit(database).path[1:]
    postgres.execute("DROP ROLE IF EXISTS plain")
    postgres.execute("CREATE ROLE plain LOGIN")
    url = database.replace("postgres:@", "plain@")
    with pytest.raises(LedgerError, match="permission denied for database"):
        Ledger(url, exclusive=True)
    postgres.execute("CREATE SCHEMA assign_worker AUTHORIZATION plain", name)
    with Ledger(url, exclusive=True) as ledger:
        run = staged(ledger.engine, [row(1)])
        settle(ledger.engine, run, result(1), through=1)
        assert settled(ledger.engine, run) == [1]


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear sentence, exit 2."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for module in ("worker.ledger.postgres", "worker.ledger.postgres_store"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(LedgerError, match=r"pip install '\.\[postgres\]' in a checkout") as raised:
        Ledger("postgresql://127.0.0.1:9/x", exclusive=True)
    assert raised.value.exit_code == 2


# Who holds what.


def test_a_live_holder_is_named(ledger: Ledger) -> None:
    """A second process is refused with host, pid and since when, and changes nothing."""
    run = staged(ledger.engine, [row(1), row(2)])
    claim = claim_run(ledger.engine, run.run_no, holder=ELSEWHERE, now=NOW)
    with pytest.raises(LedgerHeldError, match=r"process 7 on far, running since 2023-11-1.*its hold ends within \d+ s"):
        claim_run(ledger.engine, run.run_no, holder=holder(), now=NOW)
    writer = ShardWriter(ledger.engine, claim)
    writer.write(Batch(results=[result(1)], marks={0: 2}))
    writer.close()
    assert settled(ledger.engine, run) == [1]


def test_a_lapsed_lease_can_be_taken_and_its_holder_writes_nothing_more(ledger: Ledger) -> None:
    """The epoch rose: the old holder's whole batch is refused; when its last request must be over is told."""
    run = staged(ledger.engine, [row(1), row(2)])
    patient = ELSEWHERE.replace("}", ', "timeout": 60.0}')
    old = claim_shards(ledger.engine, run.run_no, None, holder=patient, now=NOW, lease=30.0)
    assert old.settles_in == 0.0
    let_lapse(ledger.engine, run)
    new = claim_run(ledger.engine, run.run_no, holder=holder(timeout=5.0), now=NOW)
    assert 50 < new.settles_in < 60  # by the timeout of the one before, not by one's own
    zombie = ShardWriter(ledger.engine, old)
    for batch in (Batch(results=[result(1)], marks={0: 2}), Batch(lowered={0: 0}), Batch(notes=[(1, False, 1)])):
        with pytest.raises(FenceLostError):
            zombie.write(batch)
    with pytest.raises(FenceLostError):
        zombie.renew()
    zombie.give_back()
    zombie.close()
    with pytest.raises(LedgerHeldError):
        claim_run(ledger.engine, run.run_no, holder=ELSEWHERE, now=NOW)
    assert settled(ledger.engine, run) == []


def test_whoever_takes_a_run_over_by_a_changed_file_waits_for_its_last_requests(ledger: Ledger) -> None:
    """What the holder of the old run has under way may be applied after all, to rows that are fresh in the new one."""
    before = staged(ledger.engine, [row(1), row(2)], sha256="a")
    patient = ELSEWHERE.replace("}", ', "timeout": 60.0}')
    old = claim_shards(ledger.engine, before.run_no, None, holder=patient, now=NOW, lease=30.0)
    let_lapse(ledger.engine, before)
    assert old.lease is not None
    run = staged(ledger.engine, [row(1, person=600), row(3)], sha256="b")
    assert get_run(ledger.engine, before.run_no).state == "superseded"
    assert 50 < claim_run(ledger.engine, run.run_no, holder=holder(timeout=5.0), now=NOW).settles_in < 60


def let_lapse(engine: Engine, run: Run) -> None:
    """The leases of a run ran out this moment, by the server's clock."""
    with engine.begin() as connection:
        lapsed = store_of(engine.dialect).clock() - 0.001
        connection.execute(update(shards).where(shards.c.run_no == run.run_no).values(lease_until=lapsed))


def test_a_process_of_this_machine_that_has_ended_holds_nothing(ledger: Ledger) -> None:
    """After kill -9 the same command goes on at once: nobody waits for a lease of the dead."""
    run = staged(ledger.engine, [row(1)])
    dead = holder().replace(f'"pid": {_pid(holder())}', '"pid": 4194305')
    claim_run(ledger.engine, run.run_no, holder=dead, now=NOW)
    claim = claim_run(ledger.engine, run.run_no, holder=holder(), now=NOW)
    assert (claim.shards[0].epoch, claim.settles_in) == (2, 0.0)


def _pid(said: str) -> int:
    return int(said.partition('"pid": ')[2].partition(",")[0])


def test_a_claim_given_back_is_free_at_once(ledger: Ledger) -> None:
    """An orderly end leaves no lease to wait for."""
    run = staged(ledger.engine, [row(1)])
    claimed_run = ClaimedRun(ledger.engine, claim_run(ledger.engine, run.run_no, holder=ELSEWHERE, now=NOW))
    claimed_run.close()
    assert claim_run(ledger.engine, run.run_no, holder=holder(timeout=5.0), now=NOW).settles_in == 0.0


def test_a_lease_is_renewed_while_it_is_held(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice its length later nobody else can take it, and its holder may still send."""
    renewals: queue.SimpleQueue[float] = queue.SimpleQueue()
    renew = ShardWriter.renew

    def renew_and_tell(self: ShardWriter) -> None:
        renew(self)
        renewals.put(time.monotonic())

    monkeypatch.setattr(ShardWriter, "renew", renew_and_tell)
    run = staged(ledger.engine, [row(1)])
    claim = claim_shards(ledger.engine, run.run_no, None, holder=ELSEWHERE, now=NOW, lease=1.0)
    began = time.monotonic()
    held = ClaimedRun(ledger.engine, claim)
    while renewals.get(timeout=10) < began + 2.0:
        pass
    assert held.require_lease is not None
    held.require_lease()
    with pytest.raises(LedgerHeldError):
        claim_run(ledger.engine, run.run_no, holder=holder(), now=NOW)
    held.close()
    with pytest.raises(LedgerWriteError, match="nothing more was sent"):
        held.require_lease()


def test_shards_are_claimed_one_by_one(ledger: Ledger) -> None:
    """Two processes share a run by its shards, each under a fence of its own; a workspace is in one place at a time."""
    run = staged(ledger.engine, [row(number, workspace=number % 3 + 1) for number in range(1, 10)])
    first = claim_shards(ledger.engine, run.run_no, [0], holder=ELSEWHERE, now=NOW)
    other = claim_shards(ledger.engine, run.run_no, [1, 2], holder=holder(), now=NOW)
    assert [[shard.shard for shard in claim.shards] for claim in (first, other)] == [[0], [1, 2]]
    with pytest.raises(LedgerHeldError):
        claim_shards(ledger.engine, run.run_no, [0, 1], holder=holder(), now=NOW)
    with ledger.engine.begin() as connection:  # as if a workspace were in two shards
        connection.execute(update(shards).where(shards.c.shard == 2).values(workspace_id=first.shards[0].workspace_id))
        connection.execute(update(shards).where(shards.c.shard == 2).values(lease_until=None))
    with pytest.raises(LedgerHeldError, match="works on the same workspace"):
        claim_shards(ledger.engine, run.run_no, [2], holder=holder(), now=NOW)


def test_of_a_group_what_is_free_is_claimed(ledger: Ledger) -> None:
    """What another process, another claim of one's own or another run has in hand is left, each with the reason."""
    run = staged(ledger.engine, [row(number, workspace=number) for number in range(1, 5)])
    other = staged(ledger.engine, [row(9, workspace=3)], sha256="b", name="other")
    claim_shards(ledger.engine, run.run_no, [0], holder=ELSEWHERE, now=NOW)
    claim_shards(ledger.engine, run.run_no, [1], holder=holder(part="one"), now=NOW)
    claim_shards(ledger.engine, other.run_no, None, holder=holder(part="one"), now=NOW)
    claim, held = claim_free(ledger.engine, run.run_no, [0, 1, 2, 3], holder=holder(part="two"), now=NOW, lease=30.0)
    assert claim is not None
    assert [(shard.shard, shard.epoch) for shard in claim.shards] == [(3, 1)]
    assert held.keys() == {0, 1, 2}
    assert "process 7 on far" in held[0]
    assert f"run {other.id} works on the same workspace" in held[2]
    nothing, reasons = claim_free(ledger.engine, run.run_no, [0, 2], holder=holder(part="two"), now=NOW, lease=30.0)
    assert (nothing, set(reasons)) == (None, {0, 2})


def test_a_run_is_held_before_it_begins(ledger: Ledger) -> None:
    """Nobody else can take it meanwhile, its holder can; by that alone it has not begun, and nothing is in doubt."""
    run = staged(ledger.engine, [row(1), row(2)])
    claim, writer = claimed(ledger.engine, run)
    writer.write(Batch(marks={0: 2}))
    writer.write(Batch(lowered={0: 2}, notes=[(1, False, 1)]))
    writer.give_back()
    writer.close()
    with ledger.engine.begin() as connection:
        connection.execute(update(runs).values(started_at=None))
    hold = hold_run(ledger.engine, run.run_no, holder=holder(timeout=5.0))
    assert [shard.carried for shard in hold.shards] == [()]
    assert get_run(ledger.engine, run.run_no).started_at is None
    with ledger.engine.connect() as connection:
        assert not connection.execute(select(unsettled.c.maybe_applied)).scalar_one()
    with pytest.raises(LedgerHeldError):
        hold_run(ledger.engine, run.run_no, holder=ELSEWHERE)
    with pytest.raises(LedgerHeldError):
        claim_run(ledger.engine, run.run_no, holder=ELSEWHERE, now=NOW)
    assert claim_run(ledger.engine, run.run_no, holder=holder(), now=NOW).shards[0].epoch == claim.shards[0].epoch + 2


def test_a_hold_that_ran_out_is_not_renewed(ledger: Ledger) -> None:
    """Of a process that was frozen another run may have the workspace by now, and no epoch of ours tells."""
    one = staged(ledger.engine, [row(1)], sha256="a", name="one", workspace_id="north")
    two = staged(ledger.engine, [row(1)], sha256="b", name="two", workspace_id="north")
    frozen = claim_run(ledger.engine, one.run_no, holder=ELSEWHERE, now=NOW)
    with ledger.engine.begin() as connection:
        connection.execute(update(shards).where(shards.c.run_no == one.run_no).values(lease_until=0.0))
    claim_run(ledger.engine, two.run_no, holder=holder(), now=NOW)
    writer = ShardWriter(ledger.engine, frozen)
    with pytest.raises(FenceLostError, match="late to renew it"):
        writer.renew()
    writer.close()
    assert frozen.lease is not None
    assert not frozen.lease.holds()


def test_who_was_frozen_in_mid_write_is_not_waited_for(ledger: Ledger) -> None:
    """SIGSTOP in mid-COPY: the server's limits on idling do not count there, and the locks would stay."""
    engine = ledger.engine
    run = staged(engine, [row(1)], sha256="a")
    writer = ShardWriter(engine, claim_shards(engine, run.run_no, None, holder=ELSEWHERE, now=NOW, lease=0.0))
    store = store_of(engine.dialect)
    successors: list[Claim] = []

    def half_done() -> Iterator[tuple[int]]:
        yield (run.run_no,)
        with engine.connect() as connection:
            assert store.end_frozen_writes(connection, 3600.0) == 0
            while not connection.execute(_STANDING_STILL).scalar_one():  # the server may not wait yet
                connection.rollback()
        successors.append(claim_shards(engine, run.run_no, None, holder=holder(), now=NOW, lease=0.0))

    def freeze(cursor: Any, _again: object) -> None:
        writer._fence(cursor, Batch())
        store.bulk(results, ("run_no",)).many(cursor, half_done())

    with pytest.raises(FenceLostError):
        writer._session.write(freeze)
    writer.close()
    assert [claim.shards[0].epoch for claim in successors] == [2]


def test_another_run_on_the_same_workspace_is_refused(ledger: Ledger) -> None:
    """One run at a time per workspace, whatever the file; another workspace goes on beside it."""
    one = staged(ledger.engine, [row(1)], sha256="a", name="one", workspace_id="north")
    two = staged(ledger.engine, [row(1)], sha256="b", name="two", workspace_id="north")
    three = staged(ledger.engine, [row(1)], sha256="c", name="three", workspace_id="south")
    claim_run(ledger.engine, one.run_no, holder=ELSEWHERE, now=NOW)
    with pytest.raises(LedgerHeldError, match=f"run {one.id} works on the same workspace"):
        claim_run(ledger.engine, two.run_no, holder=holder(), now=NOW)
    assert claim_run(ledger.engine, three.run_no, holder=holder(), now=NOW).run_no == three.run_no


def test_a_run_under_way_is_not_superseded(ledger: Ledger) -> None:
    """A changed file of the same name waits for the process that sends the old one; a superseded run is not sent."""
    old = staged(ledger.engine, [row(1), row(2)], sha256="a")
    claim_run(ledger.engine, old.run_no, holder=ELSEWHERE, now=NOW)
    with pytest.raises(LedgerHeldError, match="process 7 on far"):
        staged(ledger.engine, [row(1), row(2), row(3)], sha256="b")
    assert get_run(ledger.engine, old.run_no).state == "open"
    with ledger.engine.begin() as connection:
        connection.execute(update(shards).values(lease_until=None))
    staged(ledger.engine, [row(1), row(2), row(3)], sha256="b")
    with pytest.raises(LedgerHeldError, match="a later run of the same name has taken this one over"):
        claim_run(ledger.engine, old.run_no, holder=holder(), now=NOW)


def test_what_others_are_staging_is_not_swept_away(ledger: Ledger) -> None:
    """A run in staging may be another process's at work just now."""
    run = create_run(ledger.engine, _spec_of(ledger), now=time.time())
    stage(ledger.engine, run, [row(1)], now=NOW)
    discard_staging(ledger.engine)
    with ledger.engine.connect() as connection:
        assert connection.execute(select(runs.c.state)).scalars().all() == ["staging"]


def _spec_of(_: Ledger) -> Any:
    from tests.ledger.filling import spec  # noqa: PLC0415 - of this test only

    return spec()


# What a lost connection loses.


class Unlucky:
    """A connection whose n-th commit loses its answer: the server is told to end it, before or after."""

    def __init__(self, ledger: Ledger, writer: ShardWriter, *, applied: bool) -> None:
        self._ledger = ledger
        self._session: Any = writer._session
        self._applied = applied
        self.losses = 0

    def strike(self) -> None:
        """Have the next commit go wrong."""
        driver = self._session._connection.driver_connection
        commit = driver.commit

        def lose() -> None:
            self.losses += 1
            if self._applied:
                commit()
            with self._ledger.engine.connect() as connection:
                connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": driver.info.backend_pid})
            driver.execute("SELECT 1")  # raises: the connection is gone

        driver.commit = lose


@pytest.mark.parametrize("applied", [True, False])
def test_a_commit_whose_answer_was_lost_is_settled_by_reading_back(ledger: Ledger, applied: bool) -> None:  # noqa: FBT001 - a table's column
    """Whether the server had committed or not, every row is there once and nothing is raised."""
    run = staged(ledger.engine, [row(number) for number in range(1, 9)])
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(results=[result(1)], marks={0: 4}))
    unlucky = Unlucky(ledger, writer, applied=applied)
    unlucky.strike()
    writer.write(Batch(results=[result(2), result(3)], marks={0: 8}, notes=[(4, True, 1)]))
    writer.write(Batch(results=[result(5)]))
    writer.close()
    assert unlucky.losses == 1
    assert settled(ledger.engine, run) == [1, 2, 3, 5]
    with ledger.engine.connect() as connection:
        assert connection.execute(select(shards.c.dispatched_through)).scalar_one() == 8


def test_a_fence_lost_with_the_connection_is_noticed(ledger: Ledger) -> None:
    """While the connection was gone another process took the shard: the batch is refused whole."""
    run = staged(ledger.engine, [row(1), row(2)])
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(marks={0: 2}))
    unlucky = Unlucky(ledger, writer, applied=False)
    unlucky.strike()
    session: Any = writer._session
    connect = session._connect

    def late(**given: Any) -> Any:
        with ledger.engine.begin() as connection:
            connection.execute(update(shards).values(epoch=shards.c.epoch + 1))
        return connect(**given)

    session._connect = late
    with pytest.raises(FenceLostError):
        writer.write(Batch(results=[result(1)]))
    writer.close()
    assert settled(ledger.engine, run) == []


def test_a_restart_of_the_server_is_waited_for(ledger: Ledger, postgres: Server) -> None:
    """Writes and reads under way go on when it is back; nothing is doubled."""
    run = staged(ledger.engine, [row(number) for number in range(1, 401)])
    held = ClaimedRun(ledger.engine, claim_run(ledger.engine, run.run_no, holder=holder(), now=NOW))
    held.write(Batch(marks={0: 400}))
    restart = threading.Thread(target=postgres.restart)
    restart.start()
    number = 1
    while restart.is_alive() or number <= 20:
        held.write(Batch(results=[result(number)]))
        assert held.fetch(0, after_row=399, limit=5)
        number += 1
        time.sleep(0.01)
    restart.join()
    assert held.require_lease is not None
    held.require_lease()
    held.close()
    assert settled(ledger.engine, run) == list(range(1, number))


def test_a_server_that_stays_away_ends_the_writing_with_the_lease(ledger: Ledger, postgres: Server) -> None:
    """No longer than the lease: then another process may have taken over."""
    run = staged(ledger.engine, [row(1)])
    claim = claim_shards(ledger.engine, run.run_no, None, holder=holder(), now=NOW, lease=1.0)
    writer = ShardWriter(ledger.engine, claim)
    writer.write(Batch(marks={0: 1}))
    postgres.stop()
    began = time.monotonic()
    try:
        with pytest.raises(LedgerWriteError, match="did not come back in time") as raised:
            writer.write(Batch(results=[result(1)]))
    finally:
        postgres.start()
    assert raised.value.exit_code == 3
    assert time.monotonic() - began < 5
    writer.close()
    assert settled(ledger.engine, run) == []


def test_after_a_failover_every_open_row_is_in_doubt(ledger: Ledger, database: str) -> None:
    """A server on another timeline may lack the last marks: rows without a result are read back first."""
    run = staged(ledger.engine, [row(number) for number in range(1, 6)])
    settle(ledger.engine, run, result(1), through=2)
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE ledger SET server = server || ' earlier'"))
    with Ledger(database, exclusive=True) as moved:
        fresh = fetch_fresh(moved.engine, run.run_no, 0, after_row=2, limit=9)
        outcomes = [entry.result.outcome for entry in stream_export(moved.engine, run.run_no)]
    assert [(each.job.row, each.maybe_applied) for each in fresh] == [(3, True), (4, True), (5, True)]
    assert outcomes == ["assigned", *["in_doubt"] * 4]
    with Ledger(database, exclusive=True) as again:
        settle(again.engine, run, result(3), through=3)
        assert settled(again.engine, run) == [1, 3]


def test_a_failover_in_mid_run_ends_the_writing(ledger: Ledger) -> None:
    """The new server may lack what the old one had confirmed, so this process writes nothing more."""
    run = staged(ledger.engine, [row(1), row(2)])
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(marks={0: 2}))
    session: Any = writer._session
    session._server = "the old one"
    Unlucky(ledger, writer, applied=False).strike()
    with pytest.raises(LedgerWriteError, match="failed over or restored in mid-run"):
        writer.write(Batch(results=[result(1)]))
    writer.close()
    assert settled(ledger.engine, run) == []


# What text can hold.


def test_what_postgresql_cannot_hold_is_replaced(ledger: Ledger) -> None:
    """A NUL in a name of Seam's does not end the run."""
    run = staged(ledger.engine, [row(1), row(2)])
    _, writer = claimed(ledger.engine, run)
    odd = 'a\tb\\N\n"é'
    writer.write(Batch(results=[result(1, display_name="Card\x007"), result(2, display_name=odd)], marks={0: 2}))
    writer.close()
    names = [entry.result.display_name for entry in stream_export(ledger.engine, run.run_no)]
    assert names == ["Card\ufffd7", odd]


def test_the_holders_clock_counts_a_machine_that_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease is over a little before its end, by a clock that a suspended machine does not stop."""
    now = [100.0]
    asked: list[int] = []

    def clock(which: int) -> float:
        asked.append(which)
        return now[0]

    monkeypatch.setattr(time, "clock_gettime", clock)
    lease = Lease(30.0)
    assert not lease.holds()
    lease.renewed(lease.now())
    now[0] = 128.0
    assert lease.holds()
    now[0] = 128.6
    assert not lease.holds()
    assert set(asked) == {getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)}


def test_outcomes_are_words_in_the_database(ledger: Ledger) -> None:
    """What is copied in is what SQL finds."""
    run = staged(ledger.engine, [row(1), row(2, reason="bad")])
    settle(ledger.engine, run, result(1, Outcome.IN_DOUBT), through=1)
    with ledger.engine.connect() as connection:
        found = connection.execute(text("SELECT row, outcome, read_back FROM results ORDER BY row")).all()
    assert [tuple(each) for each in found] == [(1, "in_doubt", False), (2, "invalid", False)]
