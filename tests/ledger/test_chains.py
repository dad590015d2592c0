"""A run and its retries are told as one: the latest run that holds a row has the last word on it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from tests.ledger.filling import NOW, finished, result, retried, row, settle, spec, staged
from worker.errors import RunNotFoundError
from worker.ledger.chains import chain_of, latest
from worker.ledger.queries import Replaced, count_outcomes, count_replaced, group_rows, stream_export, stream_latencies
from worker.ledger.runs import create_run
from worker.models import Outcome
from worker.report import build_report

if TYPE_CHECKING:
    from worker.ledger import Ledger
    from worker.ledger.runs import Run

FAILED, IN_DOUBT = Outcome.FAILED, Outcome.IN_DOUBT


def five_rows(ledger: Ledger) -> Run:
    """A finished run: two rows are well, one is refused for good, one failed and one is in doubt."""
    run = staged(ledger.engine, [row(number) for number in range(1, 6)])
    return finished(
        ledger.engine,
        run,
        result(1),
        result(2, FAILED, retryable=False, attempts=1),
        result(3, FAILED, retryable=True, attempts=5),
        result(4, IN_DOUBT, retryable=True, attempts=2),
        result(5),
    )


def words(ledger: Ledger, run: Run) -> dict[int, int]:
    """Row -> the run with the last word."""
    with ledger.engine.connect() as connection:
        return {number: run_no for run_no, number in connection.execute(latest(run.run_no))}


def told(ledger: Ledger, run: Run) -> list[tuple[int, str, str]]:
    """(row, outcome, run) as exported."""
    return [
        (entry.result.row, str(entry.result.outcome), entry.run_id)
        for entry in stream_export(ledger.engine, run.run_no)
    ]


def test_a_run_alone_has_the_word_on_all_its_rows(ledger: Ledger) -> None:
    """Nothing that another run did counts."""
    run = five_rows(ledger)
    other = staged(ledger.engine, [row(1), row(2)], sha256="b")
    assert words(ledger, run) == dict.fromkeys(range(1, 6), run.run_no)
    assert words(ledger, other) == dict.fromkeys((1, 2), other.run_no)
    assert chain_of(ledger.engine, run.run_no).runs == (run,)


def test_the_latest_retry_that_holds_a_row_has_its_last_word(ledger: Ledger) -> None:
    """Whichever run of the chain is asked for; rows stay in the input's order and carry their run's id."""
    root = five_rows(ledger)
    first = retried(ledger.engine, root)
    finished(ledger.engine, first, result(3, FAILED, retryable=True), result(4))
    second = retried(ledger.engine, first)
    finished(ledger.engine, second, result(3))
    for run in (root, first, second):
        assert words(ledger, run) == {
            1: root.run_no,
            2: root.run_no,
            3: second.run_no,
            4: first.run_no,
            5: root.run_no,
        }
        assert told(ledger, run) == [
            (1, "assigned", root.id),
            (2, "failed", root.id),
            (3, "assigned", second.id),
            (4, "assigned", first.id),
            (5, "assigned", root.id),
        ]
    assert [run.id for run in chain_of(ledger.engine, second.run_no).runs] == [root.id, first.id, second.id]


def test_rows_of_an_unfinished_retry_are_open_there(ledger: Ledger) -> None:
    """Pending beyond its mark, in doubt within it, whatever the root said; its lone counts are its own."""
    root = five_rows(ledger)
    retry = retried(ledger.engine, root)
    settle(ledger.engine, retry, through=3)
    assert [outcome for _, outcome, _ in told(ledger, root)] == [
        "assigned",
        "failed",
        "in_doubt",
        "in_doubt",
        "assigned",
    ]
    assert count_outcomes(ledger.engine, retry.run_no) == {IN_DOUBT: 2}
    assert count_outcomes(ledger.engine, root.run_no) == {Outcome.ASSIGNED: 2, FAILED: 2, IN_DOUBT: 1}


def test_what_is_only_staged_or_undone_is_no_part_of_the_chain(ledger: Ledger) -> None:
    """A retry that was never opened says nothing, and an undo tells of another thing."""
    root = five_rows(ledger)
    for kind in ("retry", "undo"):
        create_run(ledger.engine, spec(kind=kind, parent_no=root.run_no), now=NOW)
    undo = staged(ledger.engine, [row(1), row(5)], kind="undo", parent_no=root.run_no)
    assert set(words(ledger, root).values()) == {root.run_no}
    assert chain_of(ledger.engine, undo.run_no).runs == (undo,)


def test_sums_of_a_chain_agree_with_its_rows(ledger: Ledger) -> None:
    """Outcomes by the last word; assign calls and seconds of all runs, each counted once."""
    root = five_rows(ledger)
    retry = retried(ledger.engine, root)
    # Row 4 was read back first, so its count went on from 2.
    finished(ledger.engine, retry, result(3, attempts=1), result(4, attempts=3))
    chain = chain_of(ledger.engine, root.run_no)
    counts: Counter[str] = Counter()
    for group in group_rows(ledger.engine, chain):
        counts[group.outcome] += group.rows
    assert counts == Counter(outcome for _, outcome, _ in told(ledger, root))
    # Row 3 was sent five times, and once by the retry; row 4 tells itself that it was sent more than once.
    assert count_replaced(ledger.engine, chain) == Replaced(attempts=5, sent=1, again=1)
    assert sum(rows for _, rows in stream_latencies(ledger.engine, chain)) == 7
    report = build_report(ledger.engine, retry, ledger="ledger.db")
    assert (report.run_id, report.retries, report.state, report.exit_code) == (root.id, (retry.id,), "finished", 1)
    assert report.attempts == 1 + 1 + 5 + 1 + 3 + 1
    assert report.retried_rows == 2
    assert report.sending_seconds == 2.0
    assert [(failure.outcome, failure.example_row) for failure in report.failures] == [(FAILED, 2)]


def test_an_open_retry_leaves_its_chain_open(ledger: Ledger) -> None:
    """The way on is the retry's command, which names the run."""
    root = five_rows(ledger)
    retried(ledger.engine, root)
    report = build_report(ledger.engine, root, ledger="ledger.db", command=("assign-worker", "run", "jobs.csv"))
    assert (report.state, report.exit_code, report.outcomes[Outcome.PENDING]) == ("open", 3, 1)
    assert f"assign-worker retry {root.id}" in report.next_steps[0]


def test_no_such_run(ledger: Ledger) -> None:
    """As everywhere."""
    with pytest.raises(RunNotFoundError, match="holds no run 7"):
        chain_of(ledger.engine, 7)


def test_words_can_be_joined(ledger: Ledger) -> None:
    """`latest` is a plain subquery of two columns."""
    root = five_rows(ledger)
    query = latest(root.run_no).subquery()
    with ledger.engine.connect() as connection:
        assert len(connection.execute(select(query.c.run_no, query.c.row)).all()) == 5
