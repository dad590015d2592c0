"""Of a run there is one undo at a time, and none that goes on takes back what a later run has assigned."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from tests.ledger.filling import NOW, claimed, finished, result, row, settle, spec, staged, uuid
from worker.claim import Batch
from worker.errors import LedgerHeldError, RunNotFoundError
from worker.ledger.chains import chain_of
from worker.ledger.mode import UNDOING
from worker.ledger.overtaken import leave_overtaken
from worker.ledger.pruning import Family, remove
from worker.ledger.runs import UNDO, get_run, list_runs, note_stop
from worker.ledger.tables import inputs, results
from worker.ledger.undos import begin_undo, discard_unbegun, find_undo, has_rest
from worker.models import Outcome

if TYPE_CHECKING:
    from worker.ledger import Ledger
    from worker.ledger.chains import Chain
    from worker.ledger.runs import Run

MODE: dict[str, Any] = {"mode": UNDOING, "kind": UNDO}


def assigned(ledger: Ledger, rows: int = 3) -> Chain:
    """A finished run that gave credentials to people, each from another one."""
    run = staged(ledger.engine, [row(number) for number in range(1, rows + 1)], sha256="r")
    told: dict[str, Any] = {
        "assigned_acs_user_id": uuid(500),
        "previous_acs_user_id": uuid(400),
        "previous_owner_state": "known",
    }
    finished(ledger.engine, run, *(result(number, **told) for number in range(1, rows + 1)))
    return chain_of(ledger.engine, run.run_no)


def begun(ledger: Ledger, chain: Chain, earlier: Run | None = None) -> Run:
    """An undo of it, by a process that saw this one before it."""
    made = spec(parent_no=chain.root.run_no, **MODE)
    return begin_undo(ledger.engine, chain, made, earlier=earlier, workspace_id=None, now=NOW)


def words(ledger: Ledger, run: Run) -> dict[int, str]:
    """Row -> outcome."""
    with ledger.engine.connect() as connection:
        query = select(results.c.row, results.c.outcome).where(results.c.run_no == run.run_no)
        return {found.row: found.outcome for found in connection.execute(query)}


def staged_rows(ledger: Ledger) -> int:
    """Input rows of all runs."""
    with ledger.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(inputs)).scalar_one())


def test_of_two_that_undo_a_run_at_once_the_second_gives_way(ledger: Ledger) -> None:
    """Both looked before either had begun; nothing of the second stays, and the first one goes on."""
    chain = assigned(ledger)
    ours = begun(ledger, chain)
    with pytest.raises(LedgerHeldError, match=f"begun to undo run {chain.root.id} meanwhile, as run {ours.id}"):
        begun(ledger, chain)
    assert [run.run_no for run in list_runs(ledger.engine)] == [ours.run_no, chain.root.run_no]
    assert staged_rows(ledger) == 6
    assert find_undo(ledger.engine, chain) == ours
    finished(ledger.engine, ours, result(1), result(2, Outcome.FAILED), result(3))
    with pytest.raises(LedgerHeldError):
        begun(ledger, chain)
    rest = begun(ledger, chain, earlier=ours)
    assert (rest.state, rest.rows) == ("open", 1)


def test_nothing_is_undone_that_was_removed_meanwhile(ledger: Ledger) -> None:
    """It was looked at, then pruned by another process."""
    chain = assigned(ledger)
    assert remove(ledger.engine, Family(chain.runs))
    with pytest.raises(LedgerHeldError, match=f"retried or removed run {chain.root.id} just now"):
        begun(ledger, chain)
    assert list_runs(ledger.engine) == []


def test_an_undo_that_nobody_could_begin_is_gone(ledger: Ledger) -> None:
    """Only as long as nobody has taken it."""
    chain = assigned(ledger)
    undo = begun(ledger, chain)
    discard_unbegun(ledger.engine, undo.run_no)
    with pytest.raises(RunNotFoundError):
        get_run(ledger.engine, undo.run_no)
    undo = begun(ledger, chain)
    claimed(ledger.engine, undo)[1].close()
    discard_unbegun(ledger.engine, undo.run_no)
    assert find_undo(ledger.engine, chain) == get_run(ledger.engine, undo.run_no)


def test_an_open_undo_is_gone_on_with_before_any_other(ledger: Ledger) -> None:
    """A later one, of a ledger that had two, does not hide it."""
    chain = assigned(ledger)
    undo = begun(ledger, chain)
    other = staged(ledger.engine, [row(1)], parent_no=chain.root.run_no, name="u", **MODE)
    assert find_undo(ledger.engine, chain) == other
    finished(ledger.engine, other, result(1))
    assert find_undo(ledger.engine, chain) == undo


def test_what_a_later_run_assigned_is_not_taken_back_by_an_undo_that_goes_on(ledger: Ledger) -> None:
    """Nor what it may have assigned. What the undo may have sent is in doubt, and no other undo takes it up."""
    chain = assigned(ledger, rows=8)
    undo = begun(ledger, chain)
    claim, writer = claimed(ledger.engine, undo)
    writer.write(Batch(results=[result(1)], marks={claim.shards[0].shard: 3}))
    writer.close()
    note_stop(ledger.engine, undo.run_no, finished=False, cause="sigterm", message="", seconds=1.0, now=NOW)
    later = staged(
        ledger.engine,
        [row(number, credential=credential) for number, credential in enumerate((1, 2, 4, 5, 6, 7, 8), 1)],
        sha256="later",
        name="later.csv",
    )
    words_of_it = (result(1), result(2), result(3), result(4, Outcome.UNCHANGED), result(5, Outcome.FAILED))
    settle(ledger.engine, later, *words_of_it, through=6)
    assert leave_overtaken(ledger.engine, chain, undo, recover=False, now=NOW) == 3
    # 3 has to do with no other run; 5 and 6 were not assigned there, and 8 has not been sent.
    assert words(ledger, undo) == {1: "assigned", 2: "in_doubt", 4: "conflict", 7: "conflict"}
    finished(ledger.engine, undo, result(3), result(5), result(6), result(8))
    assert not has_rest(ledger.engine, chain)


def test_what_the_chain_assigned_itself_is_undone(ledger: Ledger) -> None:
    """A run that goes on after its undo was begun, or a retry of it, is no other run."""
    chain = assigned(ledger)
    undo = begun(ledger, chain)
    retry = staged(ledger.engine, [row(1)], kind="retry", parent_no=chain.root.run_no, sha256="t")
    finished(ledger.engine, retry, result(1))
    earlier = staged(ledger.engine, [row(1)], sha256="e", name="not.sent.csv")
    assert leave_overtaken(ledger.engine, chain_of(ledger.engine, chain.root.run_no), undo, recover=False, now=NOW) == 0
    assert words(ledger, undo) == {}
    settle(ledger.engine, earlier, result(1), through=1)
    assert leave_overtaken(ledger.engine, chain, undo, recover=True, now=NOW) == 1
    assert words(ledger, undo) == {1: "in_doubt"}


def test_a_run_that_was_made_before_an_undo_and_gone_on_with_since_has_its_say(ledger: Ledger) -> None:
    """What it wrote before the undo was made is what the undo is about; what it wrote since is not."""
    older = staged(ledger.engine, [row(1), row(2)], sha256="older", name="older.csv", now=NOW - 100)
    settle(ledger.engine, older, result(1, finished_at=NOW - 90), through=1, now=NOW - 95)
    note_stop(ledger.engine, older.run_no, finished=False, cause=None, message=None, seconds=1.0, now=NOW - 89)
    chain = assigned(ledger)
    undo = begun(ledger, chain)
    leave = partial(leave_overtaken, ledger.engine, chain, undo, recover=False, now=NOW + 60)
    assert leave() == 0
    settle(ledger.engine, older, result(2, finished_at=NOW + 50), through=2, now=NOW + 40)
    note_stop(ledger.engine, older.run_no, finished=True, cause=None, message=None, seconds=1.0, now=NOW + 51)
    assert leave() == 1
    assert words(ledger, undo) == {2: "conflict"}
