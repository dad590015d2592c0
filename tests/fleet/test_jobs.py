"""The engine's jobs follow the ledger, whatever has happened to either."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from procrastinate.jobs import Status
from sqlalchemy import text

from tests.ledger.filling import finished, result, row, staged, uuid
from worker.fleet import Timing, cancel, install
from worker.fleet.engine import make_app, make_manager
from worker.fleet.groups import LEAST_GROUPS
from worker.fleet.jobs import defer_missing, finish_runs, put_off, revive
from worker.ledger import Ledger, holder
from worker.ledger.claims import claim_free
from worker.ledger.mode import PLAIN, How, Mode
from worker.ledger.runs import get_run
from worker.ledger.store import store_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.ledger.runs import Run

MODE = Mode(How.FLEET, "allow")


@pytest.fixture
def shared(database: str) -> Iterator[Ledger]:
    """An empty ledger with the engine's tables."""
    with Ledger(database, exclusive=True) as ledger:
        install(ledger.engine)
        yield ledger


def submitted(ledger: Ledger, **changed: Any) -> Run:
    """A run of two workspaces with three rows."""
    rows = [row(1, workspace=1), row(2, workspace=2), row(3, workspace=2)]
    return staged(ledger.engine, rows, **{"mode": MODE, **changed})


def jobs(ledger: Ledger) -> list[tuple[Any, ...]]:
    """(shards, lock, status) of all jobs."""
    query = text("SELECT args->'shards', lock, status::text FROM procrastinate_jobs ORDER BY id")
    with ledger.engine.connect() as connection:
        return [tuple(job) for job in connection.execute(query)]


def mark(ledger: Ledger, status: str) -> None:
    """As if every job had ended so."""
    with ledger.engine.begin() as connection:
        connection.execute(text(f"UPDATE procrastinate_jobs SET status = '{status}'"))  # noqa: S608 - a word of ours


def test_the_tables_are_made_once(shared: Ledger) -> None:
    """`install` says whether it made them."""
    assert install(shared.engine) is False


def test_every_shard_of_an_open_run_gets_a_job(shared: Ledger) -> None:
    """With the lock of its workspace; a second look makes none; other runs get none."""
    submitted(shared)
    submitted(shared, mode=PLAIN, name="other")
    submitted(shared, kind="retry", name="again")
    assert defer_missing(shared.engine, make_manager()) == 2
    assert defer_missing(shared.engine, make_manager()) == 0
    endpoint = "http://127.0.0.1:1"
    assert jobs(shared) == [([1], f"{endpoint} {uuid(2)}", "todo"), ([0], f"{endpoint} {uuid(1)}", "todo")]


def test_small_workspaces_share_jobs(shared: Ledger) -> None:
    """Of which none needs a lock; shards that have none, beside an old job of one shard, get one again."""
    staged(shared.engine, [row(number, workspace=number) for number in range(1, 41)], mode=MODE)
    assert defer_missing(shared.engine, make_manager()) == LEAST_GROUPS
    made = jobs(shared)
    assert sorted(shard for covered, _, _ in made for shard in covered) == list(range(40))
    assert {lock for covered, lock, _ in made if len(covered) > 1} == {None}
    with shared.engine.begin() as connection:
        connection.execute(
            text("UPDATE procrastinate_jobs SET args = args - 'shards' || '{\"shard\": 0}' WHERE id = 1")
        )
    assert defer_missing(shared.engine, make_manager()) == 1
    assert sorted([0, *(shard for covered, _, _ in jobs(shared) for shard in covered or ())]) == list(range(40))


async def test_what_is_put_off_gets_a_job_of_its_own(shared: Ledger, database: str) -> None:
    """For later; the rest stays in the job under way, and no shard is in two or in none. A zombie changes nothing."""
    run = staged(shared.engine, [row(number, workspace=number) for number in range(1, 41)], mode=MODE)
    defer_missing(shared.engine, make_manager())
    app = make_app(database, patience=10)
    async with app.open_async():
        manager = app.job_manager
        mine, others = await manager.register_worker(), await manager.register_worker()
        job = await manager.fetch_job(queues=None, worker_id=mine)
        assert job is not None
        covers: Any = job.task_kwargs["shards"]
        first, *rest = covers
        put_off(shared.engine, make_manager(), job.evolve(worker_id=others), run, [first], pause=60.0)
        assert len(jobs(shared)) == LEAST_GROUPS
        put_off(shared.engine, make_manager(), job, run, [first], pause=60.0)
        covered = [shards for shards, _, _ in jobs(shared)]
        assert (covered[-1], rest in covered, len(covered)) == ([first], True, LEAST_GROUPS + 1)
        with shared.engine.connect() as connection:
            due = connection.execute(text("SELECT max(scheduled_at) > now() + '50 s' FROM procrastinate_jobs"))
            assert due.scalar_one()
        assert defer_missing(shared.engine, make_manager()) == 0
        await manager.retry_job(job)  # the two may wait beside each other
    assert all(status == "todo" for _, _, status in jobs(shared))


def test_a_run_ends_with_its_last_shard(shared: Ledger) -> None:
    """Not before, and then its jobs are forgotten."""
    run = submitted(shared)
    defer_missing(shared.engine, make_manager())
    finished(shared.engine, run, *(result(number) for number in (1, 2, 3)))
    with shared.engine.begin() as connection:
        connection.execute(text("UPDATE runs SET state = 'open'"))
    assert finish_runs(shared.engine) == []
    mark(shared, "succeeded")
    assert finish_runs(shared.engine) == [run.run_no]
    assert get_run(shared.engine, run.run_no).state == "finished"
    assert jobs(shared) == []


def test_a_run_whose_jobs_say_done_too_early_gets_new_ones(shared: Ledger) -> None:
    """The ledger's rows have the last word, not the engine's jobs."""
    run = submitted(shared)
    defer_missing(shared.engine, make_manager())
    mark(shared, "succeeded")
    finish_runs(shared.engine)
    assert get_run(shared.engine, run.run_no).state == "open"
    assert defer_missing(shared.engine, make_manager()) == 2


def test_a_cancelled_run_gets_no_jobs_until_it_is_revived(shared: Ledger) -> None:
    """`cancel` takes the waiting ones, and no look makes new ones."""
    run = submitted(shared)
    defer_missing(shared.engine, make_manager())
    assert cancel(shared.engine, run, "cancelled") == 2
    assert [status for _, _, status in jobs(shared)] == ["cancelled", "cancelled"]
    assert defer_missing(shared.engine, make_manager()) == 0
    assert finish_runs(shared.engine) == []
    assert get_run(shared.engine, run.run_no).stop_cause == "cancelled"
    revive(shared.engine, run)
    assert defer_missing(shared.engine, make_manager()) == 2


def test_a_run_that_is_cancelled_before_it_has_jobs_gets_none(shared: Ledger) -> None:
    """Its submit died between the run and its jobs; whoever looks next is told nothing of it."""
    run = submitted(shared)
    assert cancel(shared.engine, run, "cancelled") == 0
    assert defer_missing(shared.engine, make_manager()) == 0
    revive(shared.engine, run)
    assert defer_missing(shared.engine, make_manager()) == 2


def test_jobs_of_a_run_that_is_gone_are_forgotten_when_they_have_ended(shared: Ledger) -> None:
    """A changed file took it over, and it was pruned: no job of it stands in the way of its workspace."""
    submitted(shared)
    defer_missing(shared.engine, make_manager())
    with shared.engine.begin() as connection:
        connection.execute(text("UPDATE runs SET state = 'superseded'"))
    finish_runs(shared.engine)
    assert len(jobs(shared)) == 2  # a worker may have one in hand
    mark(shared, "succeeded")
    finish_runs(shared.engine)
    assert jobs(shared) == []


def test_a_run_ends_together_with_its_jobs(shared: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker that looks for runs without jobs while a run ends makes it none."""
    run = submitted(shared)
    defer_missing(shared.engine, make_manager())
    finished(shared.engine, run, *(result(number) for number in (1, 2, 3)))
    mark(shared, "succeeded")
    with shared.engine.begin() as connection:
        connection.execute(text("UPDATE runs SET state = 'open'"))
    looks: list[int] = []

    def look_between(*_: object) -> None:
        with ThreadPoolExecutor(1) as pool:
            looks.append(pool.submit(defer_missing, shared.engine, make_manager()).result())

    monkeypatch.setattr(type(store_of(shared.engine.dialect)), "note_sizes", staticmethod(look_between))
    assert finish_runs(shared.engine) == [run.run_no]
    assert looks == [0]
    assert (get_run(shared.engine, run.run_no).state, jobs(shared)) == ("finished", [])


def test_a_run_that_is_cancelled_twice_took_its_time_once(shared: Ledger) -> None:
    """What it had been sent for until the first time."""
    run = submitted(shared)
    with shared.engine.begin() as connection:
        connection.execute(text("UPDATE runs SET started_at = :began"), {"began": time.time() - 100})
    for _ in range(3):
        cancel(shared.engine, run, "cancelled")
    assert 100 <= get_run(shared.engine, run.run_no).sending_seconds < 110


def test_a_run_that_has_ended_is_not_cancelled(shared: Ledger) -> None:
    """Its end came between the look at it and the cancel."""
    run = submitted(shared)
    finished(shared.engine, run, *(result(number) for number in (1, 2, 3)))
    assert cancel(shared.engine, run, "cancelled") == 0
    ended = get_run(shared.engine, run.run_no)
    assert (ended.state, ended.stop_cause) == ("finished", None)


@pytest.mark.parametrize("how", ["drains", "dies"])
async def test_a_run_is_wanted_again_while_it_is_being_cancelled(shared: Ledger, database: str, how: str) -> None:
    """The job of a worker that still drains, or died of something else, is taken up once more."""
    run = submitted(shared)
    defer_missing(shared.engine, make_manager())
    app = make_app(database, patience=10)
    async with app.open_async():
        manager = app.job_manager
        under_way = await manager.fetch_job(queues=None, worker_id=await manager.register_worker())
        assert under_way is not None
        assert cancel(shared.engine, run, "cancelled") == 2
        revive(shared.engine, run)
        assert defer_missing(shared.engine, make_manager()) == 1
        if how == "drains":
            await manager.finish_job(under_way, Status.ABORTED, delete_job=False)
        else:
            await manager.retry_job(under_way)
    assert [status for _, _, status in jobs(shared)] == ["todo", "todo"]


async def test_a_cancelled_job_ends_as_cancelled(shared: Ledger, database: str) -> None:
    """Where nobody wants it again."""
    run = submitted(shared)
    defer_missing(shared.engine, make_manager())
    app = make_app(database, patience=10)
    async with app.open_async():
        manager = app.job_manager
        under_way = await manager.fetch_job(queues=None, worker_id=await manager.register_worker())
        assert under_way is not None
        cancel(shared.engine, run, "cancelled")
        await manager.finish_job(under_way, Status.ABORTED, delete_job=False)
    assert [status for _, _, status in jobs(shared)] == ["aborted", "cancelled"]


async def test_a_worker_that_was_taken_for_dead_ends_no_job_of_anothers(shared: Ledger, database: str) -> None:
    """Its job was given to another one: what it says of it changes nothing."""
    submitted(shared)
    defer_missing(shared.engine, make_manager())
    app = make_app(database, patience=10)
    async with app.open_async():
        manager = app.job_manager
        zombie, other = await manager.register_worker(), await manager.register_worker()
        lost = await manager.fetch_job(queues=None, worker_id=zombie)
        assert lost is not None
        await manager.retry_job(lost)
        taken = await manager.fetch_job(queues=None, worker_id=other)
        assert taken is not None
        assert taken.id == lost.id
        await manager.finish_job(lost, Status.SUCCEEDED, delete_job=False)
        await manager.retry_job(lost)
        assert [status for _, _, status in jobs(shared)] == ["doing", "todo"]
        await manager.finish_job(taken, Status.SUCCEEDED, delete_job=False)
    assert [status for _, _, status in jobs(shared)] == ["succeeded", "todo"]


@pytest.mark.parametrize("wrong", [{"lease": 60.0}, {"grace": 61.0}, {"heartbeat": 90.0}])
def test_times_that_do_not_hang_together_are_refused(wrong: dict[str, float]) -> None:
    """A lease that outlives the stale time would keep the work of the dead from others."""
    with pytest.raises(ValueError, match="below stale"):
        Timing(**wrong)


def test_a_run_is_sent_from_its_first_claim_on(shared: Ledger) -> None:
    """Not from its submission, however long it waited; a pause between cancel and revival does not count either."""
    run = submitted(shared)
    began = time.time()
    for shard in (0, 1):
        claim, _ = claim_free(shared.engine, run.run_no, [shard], holder=holder(), now=began - 60 + shard, lease=30.0)
        assert claim is not None
    assert get_run(shared.engine, run.run_no).started_at == began - 60
    defer_missing(shared.engine, make_manager())
    cancel(shared.engine, run, "cancelled")
    assert 60 <= get_run(shared.engine, run.run_no).sending_seconds < 70
    claim_free(shared.engine, run.run_no, [0], holder=holder(), now=began, lease=30.0)  # it heard too late of it
    assert get_run(shared.engine, run.run_no).stop_cause == "cancelled"
    revive(shared.engine, run)
    assert get_run(shared.engine, run.run_no).stop_cause is None
    cancel(shared.engine, run, "cancelled")
    assert 60 <= get_run(shared.engine, run.run_no).sending_seconds < 80
