"""What the ledger tells of every row, and the sums that agree with it."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.ledger.filling import claimed, result, row, settle, staged, uuid
from worker.claim import Batch
from worker.ledger.chains import chain_of
from worker.ledger.doubts import doubt_open_rows
from worker.ledger.queries import (
    NOWHERE,
    Group,
    count_by_workspace,
    count_decided,
    count_outcomes,
    fetch_examples,
    fetch_workspaces,
    group_rows,
    stream_decided,
    stream_export,
    stream_latencies,
)
from worker.models import Outcome

if TYPE_CHECKING:
    from worker.ledger import Ledger
    from worker.ledger.runs import Run


def outcomes(ledger: Ledger, run: Run) -> list[str]:
    """The outcome of every row, in input order."""
    return [entry.result.outcome for entry in stream_export(ledger.engine, run.run_no)]


def test_never_begun_run_is_pending(ledger: Ledger) -> None:
    """Before the first mark no row was sent."""
    run = staged(ledger.engine, [row(1), row(2)])
    assert outcomes(ledger, run) == ["pending", "pending"]


def test_rows_within_the_mark_are_in_doubt(ledger: Ledger) -> None:
    """No result and within the mark may have been sent, and beyond it was not; each says what to do."""
    run = staged(ledger.engine, [row(number) for number in range(1, 6)])
    settle(ledger.engine, run, result(2), through=3)
    entries = list(stream_export(ledger.engine, run.run_no))
    assert [entry.result.outcome for entry in entries] == ["in_doubt", "assigned", "in_doubt", "pending", "pending"]
    assert entries[0].result.detail is not None
    assert "reads its owner back" in entries[0].result.detail
    assert entries[3].result.detail is not None
    assert "not sent" in entries[3].result.detail
    assert entries[1].result.detail is None


@pytest.mark.parametrize(("maybe_applied", "outcome"), [(False, "pending"), (True, "in_doubt")])
@pytest.mark.parametrize("through", [1, 9])
def test_what_is_noted_counts(ledger: Ledger, through: int, maybe_applied: bool, outcome: str) -> None:  # noqa: FBT001 - a table's column
    """A note of an orderly stop decides, with the attempts it tells, wherever the mark is."""
    run = staged(ledger.engine, [row(1)])
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(marks={0: through}, notes=[(1, maybe_applied, 2)]))
    writer.close()
    (entry,) = stream_export(ledger.engine, run.run_no)
    assert (entry.result.outcome, entry.result.attempts) == (outcome, 2)


@pytest.mark.parametrize(("calls", "told"), [(0, "not sent: "), (1, "not executed: ")])
def test_a_pending_row_that_was_refused_is_not_told_as_never_sent(ledger: Ledger, calls: int, told: str) -> None:
    """By a limit, or for its key: it has calls to its name, and none of them was executed."""
    run = staged(ledger.engine, [row(1)])
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(lowered={0: 1}, notes=[(1, False, calls)]))
    writer.close()
    (entry,) = stream_export(ledger.engine, run.run_no)
    assert (entry.result.outcome, entry.result.attempts) == ("pending", calls)
    assert (entry.result.detail or "").startswith(told)


def test_recovered_ledger_doubts_every_open_row(ledger: Ledger) -> None:
    """After a restore the mark is too old to be trusted."""
    run = staged(ledger.engine, [row(1), row(2)])
    doubt_open_rows(ledger.engine, run.run_no)
    assert outcomes(ledger, run) == ["in_doubt", "in_doubt"]


def test_every_shard_has_its_own_mark(ledger: Ledger) -> None:
    """A row is judged by the mark of its own workspace."""
    run = staged(ledger.engine, [row(number, workspace=900 + number % 2) for number in range(1, 5)])
    claim, writer = claimed(ledger.engine, run)
    writer.write(Batch(marks={claim.shards[1].shard: 4}))
    writer.close()
    assert outcomes(ledger, run) == ["pending", "in_doubt", "pending", "in_doubt"]
    assert fetch_workspaces(ledger.engine, run.run_no) == {0: uuid(901), 1: uuid(900)}


def test_one_record_per_row_in_input_order(ledger: Ledger) -> None:
    """Invalid, duplicate and conflicting rows are in their places, with line and cells; other runs are not."""
    staged(ledger.engine, [row(1, person=3)], sha256="b" * 64, parse_options="other")
    rows = [row(1, reason="bad"), row(2), row(3, credential=2), row(4), row(5, credential=4, person=501)]
    run = staged(ledger.engine, rows)
    entries = list(stream_export(ledger.engine, run.run_no))
    assert [entry.result.row for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.line for entry in entries] == [2, 3, 4, 5, 6]
    assert [entry.result.outcome for entry in entries] == ["invalid", "pending", "duplicate", "conflict", "conflict"]
    assert json.loads(entries[3].cells) == [uuid(4), uuid(500)]


def filled(ledger: Ledger) -> Run:
    """A run of 40 rows in three workspaces: settled, failed, open, rejected."""
    rows = [row(n, workspace=900 + n % 3, reason="no UUID" if n % 10 == 9 else None) for n in range(1, 41)]
    run = staged(ledger.engine, rows)
    claim, writer = claimed(ledger.engine, run)
    final = []
    for number in range(1, 31):
        if number % 10 == 9:
            continue
        if number % 5 == 0:
            final.append(result(number, Outcome.FAILED, error_type="timeout", error_message=f"{number}", attempts=3))
        else:
            codes = "a;b" if number % 4 == 0 else None
            final.append(result(number, duration_ms=number * 7 % 5, warning_codes=codes))
    writer.write(Batch(results=final, marks={shard.shard: 33 for shard in claim.shards}))
    writer.close()
    return run


def test_sums_agree_with_the_rows(ledger: Ledger) -> None:
    """Whatever is counted by SQL is what the export shows row by row."""
    run = filled(ledger)
    entries = [entry.result for entry in stream_export(ledger.engine, run.run_no)]
    assert count_outcomes(ledger.engine, run.run_no) == Counter(entry.outcome for entry in entries)
    places = count_by_workspace(ledger.engine, run.run_no)
    assert sum(places.values(), Counter[Outcome]()) == count_decided(ledger.engine, run.run_no)
    assert places[NOWHERE] == {Outcome.INVALID: 4}
    decided = count_decided(ledger.engine, run.run_no)
    assert decided == {Outcome.ASSIGNED: 21, Outcome.FAILED: 6, Outcome.INVALID: 4}
    groups = list(group_rows(ledger.engine, chain_of(ledger.engine, run.run_no)))
    by_kind: Counter[tuple[str, str | None, str | None, int]] = Counter()
    for group in groups:
        by_kind[group.outcome, group.error_type, group.warning_codes, group.attempts] += group.rows
    assert by_kind == Counter(
        (entry.outcome, entry.error_type, entry.warning_codes, entry.attempts) for entry in entries
    )
    assert min(group.first_row for group in groups if group.outcome is Outcome.FAILED) == 5
    assert {group.shard for group in groups} == {None, 0, 1, 2}
    assert all(isinstance(group, Group) and isinstance(group.outcome, Outcome) for group in groups)


def test_latencies_ascend(ledger: Ledger) -> None:
    """A histogram in order, over the rows that were sent."""
    run = filled(ledger)
    histogram = list(stream_latencies(ledger.engine, chain_of(ledger.engine, run.run_no)))
    assert sum(count for _, count in histogram) == 27
    assert all(one[0] < other[0] for one, other in pairwise(histogram))


def test_examples_and_decided_rows(ledger: Ledger) -> None:
    """A row's message and detail by its number; decided rows in order, as many as are asked for."""
    run = filled(ledger)
    examples = fetch_examples(ledger.engine, chain_of(ledger.engine, run.run_no), [9, 10])
    assert examples[9] == (None, "no UUID")
    assert examples[10][0] == "10"
    decided = list(stream_decided(ledger.engine, run.run_no, limit=9))
    assert [entry[0] for entry in decided] == list(range(1, 10))
    assert decided[8] == (9, 10, "invalid", "no UUID")


def test_half_read_export_gives_its_connection_back(ledger: Ledger) -> None:
    """Closing the stream leaves nothing open that a writer would wait for."""
    run = filled(ledger)
    with closing(stream_export(ledger.engine, run.run_no)) as rows:
        assert next(rows).result.row == 1
        assert ledger.engine.pool.checkedout() == 1  # type: ignore[attr-defined] # of the queue that SQLite files get
    assert ledger.engine.pool.checkedout() == 0  # type: ignore[attr-defined] # likewise
