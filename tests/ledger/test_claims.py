"""The write-ahead mark, the fence, and what a resumed run knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from tests.ledger.filling import NOW, claimed, finished, result, row, settle, spec, staged, uuid
from worker.claim import Batch
from worker.errors import FenceLostError, LedgerHeldError, RunNotFoundError
from worker.ledger.claims import _fresh_statement, fetch_details_due, fetch_fresh
from worker.ledger.doubts import doubt_open_rows
from worker.ledger.mode import How, Mode
from worker.ledger.opening import finish_staging
from worker.ledger.runs import create_run, discard_staging, find_alike, get_run, list_runs, note_stop
from worker.ledger.shards import has_open_rows
from worker.ledger.staging import stage
from worker.ledger.tables import inputs, results, shards
from worker.models import Outcome

if TYPE_CHECKING:
    from worker.ledger import Ledger


def carried(ledger: Ledger, run_no: int) -> list[tuple[int, bool, int]]:
    """What a new claim finds open within the mark."""
    claim, writer = claimed(ledger.engine, get_run(ledger.engine, run_no))
    writer.close()
    return [(each.job.row, each.maybe_applied, each.attempts) for each in claim.shards[0].carried]


def test_after_a_crash_rows_within_the_mark_are_in_doubt(ledger: Ledger) -> None:
    """No result and within the mark: in doubt; beyond it: never sent."""
    run = staged(ledger.engine, [row(number) for number in range(1, 11)])
    settle(ledger.engine, run, result(1), result(3), through=5)
    assert carried(ledger, run.run_no) == [(2, True, 0), (4, True, 0), (5, True, 0)]
    fresh = fetch_fresh(ledger.engine, run.run_no, 0, after_row=5, limit=100)
    assert [(each.job.row, each.maybe_applied) for each in fresh] == [(number, False) for number in range(6, 11)]


def test_an_orderly_stop_gives_rows_back(ledger: Ledger) -> None:
    """Lowered marks and notes tell what was never sent and what may have been applied."""
    run = staged(ledger.engine, [row(number) for number in range(1, 11)])
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(marks={0: 9}))
    writer.write(Batch(results=[result(1)], lowered={0: 4}, notes=[(2, False, 1), (3, True, 2)]))
    writer.close()
    assert carried(ledger, run.run_no) == [(2, False, 1), (3, True, 2), (4, True, 0)]
    # A crash right after that claim: nobody knows any more that row 2 was not executed.
    assert carried(ledger, run.run_no) == [(2, True, 1), (3, True, 2), (4, True, 0)]


def test_a_mark_never_falls_but_on_an_orderly_stop(ledger: Ledger) -> None:
    """A late, lower mark does not hide what was sent."""
    run = staged(ledger.engine, [row(number) for number in range(1, 11)])
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(marks={0: 8}))
    writer.write(Batch(marks={0: 3}))
    writer.close()
    assert len(carried(ledger, run.run_no)) == 8


def test_an_older_holder_writes_nothing_more(ledger: Ledger) -> None:
    """The fence: a claim raises the epoch, and the old one's whole batch is refused."""
    run = staged(ledger.engine, [row(1), row(2)])
    _, old = claimed(ledger.engine, run)
    _, new = claimed(ledger.engine, run)
    with pytest.raises(FenceLostError):
        old.write(Batch(results=[result(1)], marks={0: 2}))
    with pytest.raises(FenceLostError):
        old.write(Batch(results=[result(1)]))
    new.write(Batch(results=[result(2)], marks={0: 2}))
    old.close()
    new.close()
    with ledger.engine.connect() as connection:
        assert connection.execute(select(results.c.row)).scalars().all() == [2]


def test_a_second_final_result_is_impossible(ledger: Ledger) -> None:
    """The primary key forbids it, and the batch that tried is rolled back whole."""
    run = staged(ledger.engine, [row(1), row(2)])
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(results=[result(1)], marks={0: 2}))
    with pytest.raises(Exception, match=r"(?i)unique") as raised:
        writer.write(Batch(results=[result(2), result(1, Outcome.FAILED)]))
    assert not isinstance(raised.value, IntegrityError), "the quick path speaks to the driver itself"
    writer.write(Batch(results=[result(2)]))
    writer.close()
    assert not has_open_rows(ledger.engine, run.run_no)


def test_details_come_later_and_change_no_outcome(ledger: Ledger) -> None:
    """A void reply's outcome stands; only the detail columns are filled."""
    run = staged(ledger.engine, [row(1), row(2)])
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(results=[result(1, details_due=True), result(2)], marks={0: 2}))
    assert [job.row for job in fetch_details_due(ledger.engine, run.run_no, 0, after_row=0, limit=10)] == [1]
    assert has_open_rows(ledger.engine, run.run_no)
    writer.write(Batch(details=[result(1, Outcome.FAILED, display_name="Card 7", is_issued=True)]))
    writer.close()
    with ledger.engine.connect() as connection:
        found = connection.execute(
            select(results.c.outcome, results.c.display_name, results.c.is_issued, results.c.details_due).where(
                results.c.row == 1
            )
        ).one()
    assert tuple(found) == ("assigned", "Card 7", True, False)
    assert not has_open_rows(ledger.engine, run.run_no)


@pytest.mark.parametrize(
    ("before", "later", "left"), [(None, "told", "told"), ("was", None, "was"), (None, None, None)]
)
def test_what_a_later_reading_has_to_say_is_kept(
    ledger: Ledger, before: str | None, later: str | None, left: str | None
) -> None:
    """Its sentence stands with the row; where it has none, what stood there stays."""
    run = staged(ledger.engine, [row(1)])
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(results=[result(1, details_due=True, detail=before)], marks={0: 1}))
    writer.write(Batch(details=[result(1, detail=later, display_name="Card 7")]))
    writer.close()
    with ledger.engine.connect() as connection:
        found = connection.execute(select(results.c.detail, results.c.display_name)).one()
    assert tuple(found) == (left, "Card 7")


def test_recover_has_every_open_row_read_back(ledger: Ledger) -> None:
    """A ledger restored from a backup has an old mark, so none of it is believed; but what was tried, was."""
    run = staged(ledger.engine, [row(number) for number in range(1, 6)])
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(results=[result(1)], lowered={0: 2}, notes=[(2, False, 1), (4, False, 3)]))
    writer.close()
    doubt_open_rows(ledger.engine, run.run_no)
    fresh = fetch_fresh(ledger.engine, run.run_no, 0, after_row=1, limit=10)
    told = [(each.job.row, each.maybe_applied, each.attempts) for each in fresh]
    assert told == [(2, True, 1), (3, True, 0), (4, True, 3), (5, True, 0)]


def test_resume_needs_the_same_input_read_the_same_way(ledger: Ledger) -> None:
    """SHA-256, parse options, mode and endpoint: any other makes a run of its own."""
    run = staged(ledger.engine, [row(1)], sha256="a")
    find = find_alike(ledger.engine, spec(), "a", states=("open",))
    assert find is not None
    assert find.id == run.id
    assert find_alike(ledger.engine, spec(), "b", states=("open",)) is None
    for changed in ({"parse_options": '{"x": 1}'}, {"mode": Mode(How.PLAIN, "refuse")}, {"endpoint": "https://else"}):
        assert find_alike(ledger.engine, spec(**changed), "a", states=("open",)) is None
    assert find_alike(ledger.engine, spec(), "a", states=("finished",)) is None


def test_a_finished_run_is_found_as_such_and_listed(ledger: Ledger) -> None:
    """Runs are found by id, by number, and as the latest."""
    run = staged(ledger.engine, [row(1)])
    settle(ledger.engine, run, result(1), through=1)
    ended = note_stop(ledger.engine, run.run_no, finished=True, cause=None, message=None, seconds=1.5, now=NOW + 9)
    assert (ended.state, ended.sending_seconds, ended.stopped_at) == ("finished", 1.5, NOW + 9)
    assert get_run(ledger.engine).id == get_run(ledger.engine, run.id).id == get_run(ledger.engine, "1").id
    assert [each.id for each in list_runs(ledger.engine)] == [run.id]
    with pytest.raises(RunNotFoundError, match="no run 'nope'"):
        get_run(ledger.engine, "nope")


def test_a_killed_staging_is_swept_away(ledger: Ledger) -> None:
    """Nothing of it was sent; nothing of it stays."""
    run = create_run(ledger.engine, spec(), now=1.0)  # long ago: on PostgreSQL others may be staging just now
    stage(ledger.engine, run, [row(1), row(2, reason="bad")], now=NOW)
    discard_staging(ledger.engine)
    with ledger.engine.connect() as connection:
        assert connection.execute(select(inputs.c.row)).all() == []
        assert connection.execute(select(results.c.row)).all() == []
        assert connection.execute(select(shards.c.shard)).all() == []


def test_marks_of_shards_are_their_own(ledger: Ledger) -> None:
    """Two workspaces interleaved: each claim finds its own open rows."""
    run = staged(ledger.engine, [row(number, workspace=number % 2 + 1) for number in range(1, 9)])
    claim, writer = claimed(ledger.engine, run)
    writer.write(Batch(results=[result(1)], marks={0: 3, 1: 6}))
    writer.close()
    again, writer = claimed(ledger.engine, run)
    writer.close()
    assert [shard.workspace_id for shard in claim.shards] == [uuid(2), uuid(1)]
    assert [[each.job.row for each in shard.carried] for shard in again.shards] == [[3], [2, 4, 6]]


def test_a_shard_among_many_is_found_by_its_index(ledger: Ledger) -> None:
    """A thousand workspaces in one file: no fetch walks the whole run."""
    run = staged(ledger.engine, [row(number, workspace=number % 3) for number in range(1, 31)])
    fresh = fetch_fresh(ledger.engine, run.run_no, 1, after_row=5, limit=4, crowded=True)
    assert [each.job.row for each in fresh] == [8, 11, 14, 17]
    if ledger.engine.dialect.name != "sqlite":
        return  # PostgreSQL's planner knows the size of a table
    statement = _fresh_statement(ledger.engine.dialect, crowded=True)
    with ledger.engine.connect() as connection:
        plan = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {statement.text}",
            tuple(statement.ordered({"run": 1, "in_shard": 1, "after": 5, "most": 4})),
        ).all()
    assert "inputs_by_shard (run_no=? AND shard=? AND row>?)" in str(plan)


def test_what_another_run_left_in_doubt_before_the_claim_is_read_back(ledger: Ledger) -> None:
    """The run was opened before the other began: its claim sees to it, and looks no further where nobody was."""
    run = staged(ledger.engine, [row(number) for number in range(1, 5)], sha256="a", name="one.csv")
    other = staged(ledger.engine, [row(1, credential=2, person=900), row(2, credential=9)], sha256="b", name="two.csv")
    settle(ledger.engine, other, through=2)
    _, writer = claimed(ledger.engine, run)
    writer.close()
    fresh = fetch_fresh(ledger.engine, run.run_no, 0, after_row=0, limit=9)
    assert [(each.job.row, each.maybe_applied) for each in fresh] == [(1, False), (2, True), (3, False), (4, False)]


def test_a_run_that_was_taken_over_is_closed_to_whoever_held_it(ledger: Ledger) -> None:
    """Frozen while a changed file took its place, it writes nothing more and does not come open again."""
    before = staged(ledger.engine, [row(1), row(2)], sha256="a")
    _, writer = claimed(ledger.engine, before)
    writer.write(Batch(marks={0: 2}))
    staged(ledger.engine, [row(1), row(3)], sha256="b")
    for batch in (Batch(results=[result(1)]), Batch(lowered={0: 0})):
        with pytest.raises(FenceLostError):
            writer.write(batch)
    writer.close()
    ended = note_stop(ledger.engine, before.run_no, finished=False, cause="sigterm", message="", seconds=1.0, now=NOW)
    assert ended.state == "superseded"


@pytest.mark.parametrize("state", ["open", "finished"])
def test_of_two_that_read_one_input_at_once_the_second_gives_way(ledger: Ledger, state: str) -> None:
    """Both looked before either had opened a run; `again` sends it all the same."""
    ours, theirs = (create_run(ledger.engine, spec(), now=NOW) for _ in range(2))
    for run in (ours, theirs):
        assert stage(ledger.engine, run, [row(1)], now=NOW)
    theirs = finish_staging(ledger.engine, theirs, sha256="a" * 64, now=NOW, again=False)
    if state == "finished":
        finished(ledger.engine, theirs, result(1))
    with pytest.raises(LedgerHeldError, match=f"another process has begun this input meanwhile, as run {theirs.id}"):
        finish_staging(ledger.engine, ours, sha256="a" * 64, now=NOW, again=False)
    assert [each.run_no for each in list_runs(ledger.engine)] == [theirs.run_no]
    with pytest.raises(RunNotFoundError):
        get_run(ledger.engine, ours.run_no)
    anew = create_run(ledger.engine, spec(), now=NOW)
    assert stage(ledger.engine, anew, [row(1)], now=NOW)
    assert finish_staging(ledger.engine, anew, sha256="a" * 64, now=NOW, again=True).state == "open"
