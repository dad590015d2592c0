"""What guards look at: the rows that go first, and what a claim of them alone leaves as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from tests.ledger.filling import NOW, claimed, result, row, settle, staged
from worker.claim import Batch
from worker.ledger import holder
from worker.ledger.ahead import FirstRow, count_intentions, fetch_first_rows
from worker.ledger.claimed import ClaimedRun
from worker.ledger.claims import claim_run
from worker.ledger.intentions import Intention
from worker.ledger.mode import How, Mode
from worker.ledger.tables import owners, runs, unsettled
from worker.models import Outcome

if TYPE_CHECKING:
    from worker.ledger import Ledger


def test_the_first_rows_are_those_that_need_sending(ledger: Ledger) -> None:
    """Invalid rows, duplicates and conflicts within the file are passed over; open rows have no outcome."""
    run = staged(
        ledger.engine,
        [
            row(1, reason="no cells"),
            row(2),
            row(3, credential=2),
            row(4),
            row(5, credential=9),
            row(6, credential=9, person=7),
            row(7),
            row(8),
        ],
    )
    assert fetch_first_rows(ledger.engine, run.run_no, 3) == [FirstRow(number, None, None) for number in (2, 4, 7)]


def test_the_first_rows_stay_the_same_while_they_settle(ledger: Ledger) -> None:
    """Whatever became of them, with the service's words, else with what to do."""
    run = staged(ledger.engine, [row(number) for number in range(1, 9)])
    settle(
        ledger.engine,
        run,
        result(1),
        result(2, Outcome.FAILED, error_type="not_found", error_message="No such user.", detail="check it"),
        result(3, Outcome.CONFLICT, detail="it belongs to user x"),
        result(4, Outcome.UNCHANGED, started_at=None),
        through=5,
    )
    assert fetch_first_rows(ledger.engine, run.run_no, 5) == [
        FirstRow(1, Outcome.ASSIGNED, None),
        FirstRow(2, Outcome.FAILED, "not_found: No such user."),
        FirstRow(3, Outcome.CONFLICT, "it belongs to user x"),
        FirstRow(5, None, None),
        FirstRow(6, None, None),
    ]


def test_a_claim_of_the_first_rows_lets_the_others_be(ledger: Ledger) -> None:
    """What an orderly stop noted of rows beyond stays known: they were never executed."""
    run = staged(ledger.engine, [row(number) for number in range(1, 11)])
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(marks={0: 6}))
    writer.write(Batch(lowered={0: 6}, notes=[(number, False, 0) for number in range(1, 7)]))
    writer.close()
    claim = claim_run(ledger.engine, run.run_no, holder=holder(), now=NOW, through=2)
    assert [opened.job.row for opened in claim.shards[0].carried] == [1, 2]
    with ledger.engine.connect() as connection:
        doubtful = select(unsettled.c.row).where(unsettled.c.run_no == run.run_no, unsettled.c.maybe_applied)
        assert list(connection.execute(doubtful.order_by(unsettled.c.row)).scalars()) == [1, 2]


def test_a_source_of_the_first_rows_ends_with_them(ledger: Ledger) -> None:
    """It gives what lies within, and then nothing more."""
    run = staged(ledger.engine, [row(number) for number in range(1, 11)])
    source = ClaimedRun(
        ledger.engine, claim_run(ledger.engine, run.run_no, holder=holder(), now=NOW, through=3), through=3
    )
    assert [opened.job.row for opened in source.fetch(0, after_row=0, limit=100)] == [1, 2, 3]
    assert source.fetch(0, after_row=3, limit=100) == []
    source.close()


def test_intentions_are_counted_over_rows_still_to_be_sent(ledger: Ledger) -> None:
    """Somebody else's, nobody's, one's own; a row with a result counts no more."""
    run = staged(ledger.engine, [row(number) for number in range(1, 7)])
    settle(ledger.engine, run, result(1), through=1)
    readings = {
        1: ("owned", False),
        2: ("owned", False),
        3: ("owned", False),
        4: ("unowned", False),
        5: ("owned", True),
        6: ("owned", None),
    }
    with ledger.engine.begin() as connection:
        connection.execute(
            insert(owners),
            [
                {
                    "run_no": run.run_no,
                    "row": number,
                    "read_at": NOW,
                    "state": state,
                    "is_mine": mine,
                    "being_deleted": False,
                }
                for number, (state, mine) in readings.items()
            ],
        )
        connection.execute(update(runs).where(runs.c.run_no == run.run_no).values(mode=Mode(How.SYNC, "allow")))
    assert count_intentions(ledger.engine, run.run_no) == {
        Intention.TAKEOVER: 2,
        Intention.NEW: 1,
        Intention.UNCHANGED: 1,
        Intention.UNREADABLE: 1,
    }
