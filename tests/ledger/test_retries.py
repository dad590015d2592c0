"""A retry holds just the rows that it is to send, as its run had them, and knows which of them to read back first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from tests.ledger.filling import NOW, claimed, finished, result, retried, row, settle, spec, staged, uuid
from worker.claim import Batch
from worker.errors import LedgerHeldError
from worker.ledger.chains import chain_of
from worker.ledger.claims import fetch_fresh
from worker.ledger.mode import How, Mode
from worker.ledger.opening import finish_staging
from worker.ledger.queries import stream_export
from worker.ledger.retries import Choice, Chosen, count_chosen, create_retry, leave_claimed, recall_owners
from worker.ledger.runs import create_run, note_stop
from worker.ledger.staging import stage
from worker.ledger.tables import RESULT_COLUMNS, inputs, results, shards
from worker.models import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Row

    from worker.claim import OpenRow
    from worker.ledger import Ledger
    from worker.ledger.runs import Run

FAILED, IN_DOUBT, CONFLICT = Outcome.FAILED, Outcome.IN_DOUBT, Outcome.CONFLICT


def mixed(ledger: Ledger) -> Run:
    """A finished run with rows of every kind; 8 and 9 are a conflict of the file, 10 is one of takeover."""
    rows = [row(number) for number in range(1, 8)]
    rows += [row(8, credential=88), row(9, credential=88, person=501), row(10), row(11, reason="no UUID")]
    run = staged(ledger.engine, [*rows, row(12, credential=1)])
    return finished(
        ledger.engine,
        run,
        result(1, warning_codes="being_deleted;needs_to_be_reissued"),
        result(2, FAILED, retryable=False),
        result(3, FAILED, retryable=True),
        result(4, IN_DOUBT),
        result(5, Outcome.UNCHANGED, warning_codes="needs_to_be_reissued"),
        result(6, warning_codes="needs_to_be_reissued_soon"),
        result(7, FAILED, retryable=True, read_back=True, attempts=4),
        result(10, CONFLICT, read_back=True),
    )


def rows_of(ledger: Ledger, run: Run) -> list[OpenRow]:
    """What is to be sent."""
    return fetch_fresh(ledger.engine, run.run_no, 0, after_row=0, limit=100)


@pytest.mark.parametrize(
    ("choice", "rows"),
    [
        (Choice(), [3, 4, 7]),
        (Choice((FAILED,)), [2, 3, 7]),
        (Choice((IN_DOUBT,)), [4]),
        (Choice((CONFLICT,)), [10]),
        (Choice((FAILED, CONFLICT)), [2, 3, 7, 10]),
        (Choice(warnings=("needs_to_be_reissued",)), [1, 5]),
        (Choice((IN_DOUBT,), ("being_deleted",)), [1, 4]),
        (Choice(warnings=("needs%",)), []),
    ],
)
def test_a_choice_takes_just_its_rows(ledger: Ledger, choice: Choice, rows: list[int]) -> None:
    """Never one that the file itself disputes, nor invalid ones or duplicates."""
    run = mixed(ledger)
    assert count_chosen(ledger.engine, chain_of(ledger.engine, run.run_no), choice) == Chosen(len(rows), 0)
    retry = retried(ledger.engine, run, choice)
    assert [each.job.row for each in rows_of(ledger, retry)] == rows
    assert retry.rows == len(rows)


def test_rows_are_copied_as_they_were(ledger: Ledger) -> None:
    """Line, ids, cells and workspace's shard, under the same number."""
    root = staged(ledger.engine, [row(1, workspace=1), row(2, workspace=2), row(3, workspace=1)])
    claim, writer = claimed(ledger.engine, root)
    writer.close()
    assert len(claim.shards) == 2
    finished(ledger.engine, root, result(1), result(2, FAILED, retryable=True), result(3))
    retry = retried(ledger.engine, root)
    with ledger.engine.connect() as connection:
        kept = [column for column in inputs.columns if column.name != "run_no"]
        one, other = (
            connection.execute(select(*kept).where(inputs.c.run_no == run.run_no, inputs.c.row == 2)).one()
            for run in (root, retry)
        )
        places = connection.execute(
            select(shards.c.shard, shards.c.workspace_id, shards.c.rows, shards.c.dispatched_through).where(
                shards.c.run_no == retry.run_no
            )
        ).all()
    assert one == other
    assert [tuple(place) for place in places] == [(1, uuid(2), 1, 0)]
    assert (retry.parent_no, retry.state, retry.input_sha256) == (root.run_no, "open", root.input_sha256)


def test_what_may_have_been_applied_is_read_back_first(ledger: Ledger) -> None:
    """Rows in doubt, and failed ones that were once in doubt; their count of sends goes on."""
    retry = retried(ledger.engine, mixed(ledger))
    assert {each.job.row: (each.maybe_applied, each.attempts) for each in rows_of(ledger, retry)} == {
        3: (False, 0),
        4: (True, 1),
        7: (True, 4),
    }


def test_a_credential_that_another_run_left_in_doubt_is_read_back_first(ledger: Ledger) -> None:
    """What an earlier, unfinished run may have sent counts too."""
    earlier = staged(ledger.engine, [row(1, credential=3, person=777)], sha256="b", name="other.csv")
    settle(ledger.engine, earlier, through=1)
    retry = retried(ledger.engine, mixed(ledger), Choice((FAILED,)))
    assert {each.job.row: each.maybe_applied for each in rows_of(ledger, retry)} == {2: False, 3: True, 7: True}


def test_the_latest_word_decides_what_is_sent_again(ledger: Ledger) -> None:
    """What the first retry brought right is not sent by the second."""
    root = mixed(ledger)
    finished(ledger.engine, retried(ledger.engine, root), result(3), result(4), result(7, FAILED, retryable=True))
    second = retried(ledger.engine, root)
    assert [each.job.row for each in rows_of(ledger, second)] == [7]
    finished(ledger.engine, second, result(7))
    assert count_chosen(ledger.engine, chain_of(ledger.engine, root.run_no), Choice()) == Chosen(0, 0)


def test_what_a_later_run_holds_is_left_to_it(ledger: Ledger) -> None:
    """A later file may give the credential to somebody else: the old row is not sent over it."""
    root = mixed(ledger)
    later = staged(ledger.engine, [row(1, credential=3, person=999)], sha256="b", now=NOW + 60)
    chain = chain_of(ledger.engine, root.run_no)
    assert count_chosen(ledger.engine, chain, Choice()) == Chosen(3, 0)  # it has sent nothing yet
    finished(ledger.engine, later, result(1), now=NOW + 61)
    assert count_chosen(ledger.engine, chain, Choice()) == Chosen(2, 1)
    assert [each.job.row for each in rows_of(ledger, retried(ledger.engine, root))] == [4, 7]


def test_every_row_is_exported_once(ledger: Ledger) -> None:
    """The root's rows in order, whatever a retry holds."""
    root = mixed(ledger)
    retried(ledger.engine, root)
    assert [entry.result.row for entry in stream_export(ledger.engine, root.run_no)] == list(range(1, 13))


def test_the_shards_of_one_workspace_are_sent_as_one(ledger: Ledger) -> None:
    """A fleet's run has several; a retry is sent by one process, which has one throttle for each workspace."""
    rows = [row(number, workspace=1 + number % 2) for number in range(1, 13)]
    run = create_run(ledger.engine, spec(mode=Mode(How.FLEET, "allow")), now=NOW)
    assert stage(ledger.engine, run, rows, now=NOW, shard_rows=2)
    run = finish_staging(ledger.engine, run, sha256="a" * 64, now=NOW)
    claim, writer = claimed(ledger.engine, run)
    failed = [result(number, FAILED, retryable=True) for number in range(1, 13)]
    writer.write(Batch(results=failed, marks={shard.shard: 12 for shard in claim.shards}))
    writer.close()
    note_stop(ledger.engine, run.run_no, finished=True, cause=None, message=None, seconds=1.0, now=NOW)
    again = retried(ledger.engine, run)
    with ledger.engine.connect() as connection:
        found = connection.execute(
            select(shards.c.workspace_id, shards.c.rows).where(shards.c.run_no == again.run_no)
        ).all()
    assert sorted(tuple(shard) for shard in found) == [(uuid(1), 6), (uuid(2), 6)]
    assert [each.job.row for each in rows_of(ledger, again)] == [1, 3, 5, 7, 9, 11]


def test_a_retry_is_made_once(ledger: Ledger) -> None:
    """Of two processes that found the same to retry, the second one hears of the first."""
    run = finished(ledger.engine, staged(ledger.engine, [row(1)]), result(1, Outcome.FAILED, retryable=True))
    chain = chain_of(ledger.engine, run.run_no)
    again = spec(run.name, kind="retry", parent_no=run.run_no)
    create_retry(ledger.engine, chain, Choice(), again, now=NOW)
    with pytest.raises(LedgerHeldError, match=f"retried or removed run {run.id} just now"):
        create_retry(ledger.engine, chain, Choice(), again, now=NOW)


def word(ledger: Ledger, run: Run, number: int) -> Row[Any]:
    """A row's result in just this run."""
    with ledger.engine.connect() as connection:
        return connection.execute(select(results).where(results.c.run_no == run.run_no, results.c.row == number)).one()


@pytest.mark.parametrize("recover", [False, True])
def test_an_unfinished_retry_leaves_alone_what_a_later_run_took(ledger: Ledger, *, recover: bool) -> None:
    """It was made before that run; what it has not sent keeps its word, what it may have sent is in doubt."""
    root = mixed(ledger)
    retry = retried(ledger.engine, root)  # of 3, 4 and 7
    settle(ledger.engine, retry, through=3)
    later = staged(ledger.engine, [row(1, credential=3), row(2, credential=7), row(3)], sha256="b", now=NOW + 60)
    chain = chain_of(ledger.engine, root.run_no)
    assert leave_claimed(ledger.engine, chain, recover=recover, now=NOW + 60) == 0  # it has sent nothing yet
    finished(ledger.engine, later, result(1), result(2), now=NOW + 61)
    assert leave_claimed(ledger.engine, chain, recover=recover, now=NOW + 62) == 2
    assert [each.job.row for each in rows_of(ledger, retry)] == [4]
    sent, unsent, before = word(ledger, retry, 3), word(ledger, retry, 7), word(ledger, root, 7)
    assert (sent.outcome, sent.finished_at) == ("in_doubt", NOW + 62)
    assert "may have been sent and applied, and a later run has the credential in hand" in sent.detail
    if recover:  # the mark may be older than what was sent
        assert unsent.outcome == "in_doubt"
        return
    same = set(RESULT_COLUMNS) - {"detail"}
    assert [unsent._mapping[name] for name in same] == [before._mapping[name] for name in same]
    assert unsent.detail.startswith("a later run has the credential in hand, and what that one says goes")
    assert leave_claimed(ledger.engine, chain, recover=recover, now=NOW + 63) == 0


def test_a_retry_leaves_alone_what_a_run_that_was_made_before_took_since(ledger: Ledger) -> None:
    """It was gone on with after the root had ended; what it had written before is what the root met."""
    older = staged(ledger.engine, [row(1), row(2)], sha256="o", name="older.csv", now=NOW - 100)
    settle(ledger.engine, older, result(1, finished_at=NOW - 90), through=1, now=NOW - 100)
    note_stop(ledger.engine, older.run_no, finished=False, cause=None, message=None, seconds=1.0, now=NOW - 89)
    refused = [result(number, Outcome.FAILED, retryable=True) for number in (1, 2)]
    root = finished(ledger.engine, staged(ledger.engine, [row(1), row(2)], sha256="r"), *refused)
    chain = chain_of(ledger.engine, root.run_no)
    assert count_chosen(ledger.engine, chain, Choice()) == Chosen(2, 0)
    finished(ledger.engine, older, result(2, finished_at=NOW + 50), now=NOW + 51)
    assert count_chosen(ledger.engine, chain, Choice()) == Chosen(1, 1)


def test_a_retry_that_proves_an_earlier_send_tells_whose_it_was_before(ledger: Ledger) -> None:
    """Its own reading came after the send; what it read of others itself stays."""
    root = staged(ledger.engine, [row(number) for number in range(1, 6)])
    was: dict[str, Any] = {"previous_acs_user_id": uuid(150), "previous_owner_state": "known"}
    doubts = [result(number, IN_DOUBT, **was) for number in (1, 2, 3)]
    doubts += [result(4, IN_DOUBT, previous_owner_state="none"), result(5, IN_DOUBT)]
    finished(ledger.engine, root, *doubts)
    retry = retried(ledger.engine, root)
    own: dict[str, Any] = {"previous_acs_user_id": uuid(160), "previous_owner_state": "known"}
    proven = [result(number, read_back=True) for number in (1, 4, 5)]
    finished(ledger.engine, retry, *proven, result(2, FAILED), result(3, read_back=True, **own))
    assert recall_owners(ledger.engine, retry) == 2
    found = {number: word(ledger, retry, number) for number in range(1, 6)}
    assert {number: (each.previous_acs_user_id, each.previous_owner_state) for number, each in found.items()} == {
        1: (uuid(150), "known"),
        2: (None, None),
        3: (uuid(160), "known"),
        4: (None, "none"),
        5: (None, None),
    }
    assert recall_owners(ledger.engine, retry) == 0
