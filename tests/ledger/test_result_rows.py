"""A result comes out of the ledger as it went in, whichever statement wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.ledger.filling import result, row, settle, staged
from worker.ledger.queries import stream_export
from worker.ledger.tables import RESULT_COLUMNS
from worker.models import Outcome, Result

if TYPE_CHECKING:
    from worker.ledger import Ledger

TRUE = ("retryable", "read_back", "is_issued", "is_synced_with_provider", "details_due")
VALUES: dict[str, Any] = {
    **{name: f"a {name}" for name in Result._fields},
    "row": 2,
    "outcome": Outcome.ASSIGNED,
    "attempts": 3,
    "http_status": 201,
    "duration_ms": 7,
    "started_at": 1.5,
    "finished_at": 2.5,
    **dict.fromkeys(TRUE, True),
}
FILLED = Result(**VALUES)
PLAIN = result(1, http_status=200, request_id="r", is_issued=False, ends_at="2027", duration_ms=12, attempts=2)


def test_plain_and_other_results_in_one_batch(ledger: Ledger) -> None:
    """Nothing is lost of either kind."""
    run = staged(ledger.engine, [row(1), row(2)])
    settle(ledger.engine, run, FILLED, PLAIN, through=2)
    assert [tuple(entry.result) for entry in stream_export(ledger.engine, run.run_no)] == [PLAIN, FILLED]


@pytest.mark.parametrize("name", RESULT_COLUMNS[1:])
def test_each_column_alone(ledger: Ledger, name: str) -> None:
    """A plain result with one column changed keeps that column, whichever it is."""
    other: dict[str, Any] = {name: Outcome.FAILED if name == "outcome" else VALUES[name]}
    changed = PLAIN._replace(**other)
    run = staged(ledger.engine, [row(1)])
    settle(ledger.engine, run, changed, through=1)
    assert [tuple(entry.result) for entry in stream_export(ledger.engine, run.run_no)] == [changed]
