"""The report: figures, exit code, and the way to go on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.filling import NOW, claimed, result, row, staged, uuid
from worker.claim import Batch
from worker.ledger.runs import get_run, note_stop
from worker.models import Outcome, Stop, StopCause
from worker.report import MOST_FAILURES, RunReport, _latency, build_report, exit_code_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.ledger import Ledger
    from worker.ledger.runs import Run
    from worker.models import Result

WELL = {Outcome.ASSIGNED: 2, Outcome.UNCHANGED: 1, Outcome.DUPLICATE: 1}


@pytest.mark.parametrize(
    ("outcomes", "causes", "finished", "held", "code"),
    [
        ({}, (), True, False, 0),
        (WELL, (), True, False, 0),
        (WELL | {Outcome.FAILED: 1}, (), True, False, 1),
        (WELL | {Outcome.INVALID: 1}, (), True, False, 1),
        (WELL | {Outcome.CONFLICT: 1}, (), True, False, 1),
        (WELL | {Outcome.IN_DOUBT: 1}, (), True, False, 1),
        (WELL | {Outcome.FAILED: 0}, (), True, False, 0),
        (WELL | {Outcome.PENDING: 1}, (), True, False, 3),
        (WELL, (), False, False, 3),
        (WELL | {Outcome.FAILED: 1}, (), False, False, 3),
        (WELL, (StopCause.KEY_REFUSED,), False, False, 3),
        (WELL | {Outcome.FAILED: 1}, (StopCause.DEADLINE,), True, False, 3),
        (WELL | {Outcome.FAILED: 1}, (StopCause.OUTAGE,), False, True, 4),
        (WELL, (), True, True, 4),
        (WELL, (StopCause.SIGINT,), False, False, 130),
        (WELL, (StopCause.SIGTERM,), False, True, 143),
        (WELL | {Outcome.FAILED: 1}, (StopCause.KEY_REFUSED, StopCause.SIGTERM), False, False, 143),
        (WELL, (StopCause.SIGTERM, StopCause.SIGINT), False, False, 143),
    ],
)
def test_exit_codes(
    outcomes: dict[Outcome, int],
    causes: tuple[StopCause, ...],
    finished: bool,  # noqa: FBT001 - a table's column
    held: bool,  # noqa: FBT001 - likewise
    code: int,
) -> None:
    """The table of the contract, and its order where several hold."""
    assert exit_code_of(outcomes, causes, finished=finished, held=held) == code


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 5)), min_size=1, unique_by=lambda pair: pair[0]))
def test_percentiles_by_nearest_rank(histogram: list[tuple[int, int]]) -> None:
    """The same as by sorting every value."""
    histogram.sort()
    values = [milliseconds for milliseconds, rows in histogram for _ in range(rows)]
    latency = _latency(histogram)
    assert latency is not None
    for share, found in ((50, latency.p50), (90, latency.p90), (99, latency.p99), (100, latency.max)):
        assert found == values[-(-len(values) * share // 100) - 1]


def ended(ledger: Ledger, rows: int, results: Sequence[Result], *, finished: bool = True) -> Run:
    """A run after one execution of two seconds."""
    run = staged(ledger.engine, [row(number, workspace=900 + number % 2) for number in range(1, rows + 1)])
    claim, writer = claimed(ledger.engine, run)
    writer.write(Batch(results=results))
    writer.close()
    assert len(claim.shards) == 2
    return note_stop(
        ledger.engine,
        run.run_no,
        finished=finished,
        cause=None if finished else StopCause.KEY_REFUSED.value,
        message=None if finished else "the key was refused",
        seconds=2.0,
        now=NOW + 2,
    )


def test_figures(ledger: Ledger) -> None:
    """Counts, warnings, failures with an example, attempts, latency, speed, workspaces."""
    run = ended(
        ledger,
        6,
        [
            result(1, warning_codes="a;b"),
            result(2, warning_codes="a", attempts=3, duration_ms=4000),
            result(3, Outcome.FAILED, error_type="not_found", error_message="no such", detail="check it"),
            result(4, Outcome.FAILED, error_type="not_found", error_message="neither"),
            result(5, Outcome.CONFLICT, attempts=0, duration_ms=None, detail="somebody else's"),
            result(6, Outcome.UNCHANGED, attempts=0, duration_ms=None),
        ],
    )
    report = build_report(ledger.engine, run, ledger="ledger.db", results="out.csv", note="again")
    assert (report.run_id, report.name, report.state, report.rows) == (run.id, "jobs.csv", "finished", 6)
    assert report.outcomes == {
        Outcome.ASSIGNED: 2,
        Outcome.FAILED: 2,
        Outcome.CONFLICT: 1,
        Outcome.UNCHANGED: 1,
    }
    assert list(report.warnings.items()) == [("a", 2), ("b", 1)]
    first, second = report.failures
    assert (first.outcome, first.error_type, first.rows, first.example_row) == (Outcome.FAILED, "not_found", 2, 3)
    assert (first.message, first.detail) == ("no such", "check it")
    assert (second.outcome, second.error_type, second.message) == (Outcome.CONFLICT, None, "somebody else's")
    assert (report.attempts, report.retried_rows) == (6, 1)
    assert report.latency is not None
    assert (report.latency.p50, report.latency.max) == (1000, 4000)
    assert (report.sending_seconds, report.rows_per_second) == (2.0, 2.0)
    assert [(entry.workspace_id, sum(entry.outcomes.values())) for entry in report.workspaces] == [
        (uuid(901), 3),
        (uuid(900), 3),
    ]
    assert (report.exit_code, report.notes, report.stops) == (1, ("again",), ())
    assert report.next_steps == ("3 rows need a look: column detail in out.csv, says what to do",)


def test_run_without_a_send(ledger: Ledger) -> None:
    """Nothing sent: no latency, no speed, and no table of one workspace."""
    run = staged(ledger.engine, [row(1, reason="bad")])
    report = build_report(ledger.engine, run, ledger="ledger.db")
    assert (report.latency, report.rows_per_second, report.workspaces, report.attempts) == (None, None, (), 0)
    assert report.failures[0].message == "bad"


def test_well_run_needs_nothing(ledger: Ledger) -> None:
    """Exit 0 and no next step."""
    report = build_report(
        ledger.engine, ended(ledger, 2, [result(1), result(2)]), ledger="ledger.db", results="out.csv"
    )
    assert (report.exit_code, report.next_steps) == (0, ())


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("run", "jobs.csv has no rows: look at what made it"),
        ("undo", "The run assigned nothing, so there was nothing to give back"),
    ],
)
def test_a_run_of_no_rows_says_so(ledger: Ledger, kind: str, said: str) -> None:
    """It is finished, with 0, and nobody should take that for a night in which all went well."""
    run = staged(ledger.engine, [], kind=kind)
    run = note_stop(ledger.engine, run.run_no, finished=True, cause=None, message=None, seconds=0.0, now=NOW)
    report = build_report(ledger.engine, run, ledger="ledger.db", results="out.csv")
    assert (report.exit_code, report.next_steps) == (0, (said,))


def test_two_kinds_of_one_outcome_are_told_apart(ledger: Ledger) -> None:
    """A conflict within the file is not the one of a takeover that is refused; each has its example."""
    run = staged(ledger.engine, [row(1, credential=9), row(2, credential=9, person=501), row(3)])
    claim, writer = claimed(ledger.engine, run)
    writer.write(Batch(results=[result(3, Outcome.CONFLICT, retryable=False, detail="it belongs to user 7")]))
    writer.close()
    assert len(claim.shards) == 1
    report = build_report(ledger.engine, run, ledger="ledger.db")
    assert [(kind.rows, kind.example_row, kind.retryable) for kind in report.failures] == [(2, 1, None), (1, 3, False)]
    assert report.failures[1].detail == "it belongs to user 7"


def test_open_run_tells_its_last_stop_and_how_to_go_on(ledger: Ledger) -> None:
    """A later look at a stopped run says why it stopped, and the command."""
    run = ended(ledger, 2, [result(1)], finished=False)
    report = build_report(
        ledger.engine, get_run(ledger.engine, run.id), ledger="l.db", command=["assign-worker", "run", "a b.csv"]
    )
    assert report.stops == (Stop(StopCause.KEY_REFUSED, "the key was refused"),)
    assert report.exit_code == 3
    assert report.next_steps == ("The same command goes on from here: assign-worker run 'a b.csv'",)


def test_stops_of_this_execution_go_first(ledger: Ledger) -> None:
    """What the caller knows is more than what the ledger keeps."""
    run = ended(ledger, 2, [result(1)], finished=False)
    stops = (Stop(StopCause.OUTAGE, "down", uuid(900)), Stop(StopCause.SIGINT, "stopped"))
    report = build_report(ledger.engine, run, ledger="l.db", stops=stops)
    assert (report.stops, report.exit_code) == (stops, 130)


def test_rehearsal_says_so(ledger: Ledger) -> None:
    """The last step of a rehearsal is the real run."""
    run = ended(ledger, 2, [result(1), result(2)])
    report = build_report(ledger.engine, run, ledger="l.db", rehearsal=True)
    assert report.rehearsal
    assert "--simulate" in report.next_steps[-1]


def test_kinds_of_failure_are_bounded(ledger: Ledger) -> None:
    """A service that invents error types does not make the report grow; the frequent ones stay."""
    rows = [result(number, Outcome.FAILED, error_type=f"e{number}") for number in range(1, MOST_FAILURES + 9)]
    rows += [result(number, Outcome.FAILED, error_type="often") for number in range(len(rows) + 1, len(rows) + 4)]
    report = build_report(ledger.engine, ended(ledger, len(rows), rows), ledger="l.db")
    assert len(report.failures) == MOST_FAILURES
    assert (report.failures[0].error_type, report.failures[0].rows) == ("often", 3)


def test_document_is_plain_json(ledger: Ledger) -> None:
    """`as_dict` goes through json whole, with every field and every outcome."""
    run = ended(ledger, 3, [result(1, Outcome.FAILED, error_type="x")], finished=False)
    report = build_report(ledger.engine, run, ledger="l.db", stops=[Stop(StopCause.TLS, "bad", uuid(900))])
    document = json.loads(json.dumps(report.as_dict()))
    assert set(document) == set(RunReport.__dataclass_fields__)
    assert document["outcomes"] == {outcome.value: 0 for outcome in Outcome} | {"failed": 1, "pending": 2}
    assert document["failures"][0]["outcome"] == "failed"
    assert document["stops"] == [{"cause": "tls", "message": "bad", "workspace_id": uuid(900)}]
    assert document["workspaces"][0]["outcomes"]["failed"] == 1
    assert document["latency"] == {"p50": 1000, "p90": 1000, "p99": 1000, "max": 1000}
