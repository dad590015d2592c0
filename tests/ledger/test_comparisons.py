"""A run against the one before of its name: what differs, found by credential, whatever the row numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.ledger.filling import NOW, finished, result, retried, row, settle, staged
from worker.history import Change, Comparison, compare
from worker.ledger.chains import chain_before, chain_of
from worker.ledger.runs import note_stop
from worker.models import Outcome
from worker.report import build_report

if TYPE_CHECKING:
    from worker.ledger import Ledger
    from worker.ledger.runs import Run

FAILED = Outcome.FAILED


def compared(ledger: Ledger, run: Run) -> Comparison | None:
    """The run against the one before."""
    chain = chain_of(ledger.engine, run.run_no)
    return compare(ledger.engine, chain_before(ledger.engine, chain.root), chain)


def last_night(ledger: Ledger, **changed: Any) -> Run:
    """Credentials 1 to 6, all well but 5; 2 has a warning, and 3 stands twice."""
    rows = [row(number) for number in range(1, 7)]
    run = staged(ledger.engine, [*rows, row(7, credential=3)], sha256="a", **changed)
    results = [result(number) for number in (1, 3, 4, 6)]
    return finished(
        ledger.engine, run, *results, result(2, warning_codes="old"), result(5, FAILED, retryable=False), now=NOW
    )


def test_each_kind_of_change_is_counted_with_an_example(ledger: Ledger) -> None:
    """The file is in another order tonight; examples are rows of tonight, but for those that are gone."""
    before = last_night(ledger)
    rows = [
        row(1, credential=77),
        row(2, credential=6),
        row(3, credential=5),
        row(4, credential=4, person=600),
        row(5, credential=2),
        row(6, credential=1),
        row(7, reason="no UUID"),
    ]
    tonight = finished(
        ledger.engine,
        staged(ledger.engine, rows, sha256="b"),
        result(1, warning_codes="first"),
        result(2, FAILED, retryable=True),
        result(3, FAILED, retryable=False),
        result(4, warning_codes="new"),
        result(5, Outcome.UNCHANGED, warning_codes="old;other"),
        result(6),
    )
    assert compared(ledger, tonight) == Comparison(
        before.id,
        NOW,
        new=Change(1, 1),
        gone=Change(1, 3),
        changed=Change(1, 4),
        new_warnings=Change(2, 4),
        worse=Change(1, 2),
    )


def test_the_same_again_is_no_change(ledger: Ledger) -> None:
    """A warning that has gone is none, and neither is a row that failed then and now, or is better."""
    before = last_night(ledger)
    rows = [row(number) for number in range(1, 7)]
    tonight = finished(
        ledger.engine, staged(ledger.engine, [*rows, row(7, credential=3)], sha256="a"), *map(result, range(1, 7))
    )
    assert compared(ledger, tonight) == Comparison(before.id, NOW)


def test_the_retries_of_both_runs_count(ledger: Ledger) -> None:
    """Compared is how each run stood at last."""
    before = staged(ledger.engine, [row(1), row(2)], sha256="a")
    finished(ledger.engine, before, result(1), result(2, FAILED, retryable=True))
    finished(ledger.engine, retried(ledger.engine, before), result(2))
    tonight = staged(ledger.engine, [row(1), row(2)], sha256="b")
    finished(ledger.engine, tonight, result(1, FAILED, retryable=True), result(2, FAILED, retryable=False))
    told = compared(ledger, tonight)
    assert told is not None
    assert told.worse == Change(2, 1)
    retry = retried(ledger.engine, tonight)
    assert compared(ledger, tonight) is None  # unfinished again
    finished(ledger.engine, retry, result(1))
    report = build_report(ledger.engine, retry, ledger="ledger.db")
    assert report.since == Comparison(before.id, NOW, worse=Change(1, 2))
    assert report.as_dict()["since"]["worse"] == {"rows": 1, "example_row": 2}


def test_only_a_finished_run_of_the_same_name_and_service_counts(ledger: Ledger) -> None:
    """Neither another file's run, nor one to another endpoint, nor an undo, nor one that never ended."""
    last_night(ledger, name="other.csv")
    last_night(ledger, endpoint="http://127.0.0.1:2")
    last_night(ledger, kind="undo")
    unfinished = staged(ledger.engine, [row(1)], sha256="c")
    settle(ledger.engine, unfinished, through=1)
    note_stop(ledger.engine, unfinished.run_no, finished=False, cause=None, message=None, seconds=1.0, now=NOW)
    tonight = last_night(ledger)
    assert compared(ledger, tonight) is None
    assert compared(ledger, unfinished) is None
