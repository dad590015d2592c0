"""Every input row is staged once; what can never be sent has its result before the first send."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from tests.ledger.filling import NOW, claimed, result, row, settle, spec, staged, uuid
from worker.claim import Batch
from worker.errors import InputError
from worker.ledger.claims import fetch_fresh
from worker.ledger.doubts import mark_doubtful
from worker.ledger.runs import create_run, get_run
from worker.ledger.staging import stage
from worker.ledger.tables import inputs, results, runs, shards, unsettled
from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.ledger import Ledger
    from worker.ledger.runs import Run
    from worker.models import InputRow, Result


def decided(ledger: Ledger, run: Run) -> dict[int, tuple[str, str]]:
    """Row -> (outcome, detail) of what has a result."""
    with ledger.engine.connect() as connection:
        found = connection.execute(
            select(results.c.row, results.c.outcome, results.c.detail).where(results.c.run_no == run.run_no)
        )
        return {number: (outcome, detail) for number, outcome, detail in found}


def open_rows(ledger: Ledger, run: Run) -> list[int]:
    """Rows that are still to be sent."""
    return [each.job.row for each in fetch_fresh(ledger.engine, run.run_no, 0, after_row=0, limit=100)]


def test_rejected_rows_are_invalid_with_their_reason(ledger: Ledger) -> None:
    """A row that is no job has its result at once, and the rest is left to send."""
    run = staged(ledger.engine, [row(1), row(2, reason="column acs_user_id: empty"), row(3)])
    assert decided(ledger, run) == {2: ("invalid", "column acs_user_id: empty")}
    with ledger.engine.connect() as connection:
        columns = (results.c.attempts, results.c.finished_at, results.c.read_back, results.c.details_due)
        assert tuple(connection.execute(select(*columns)).one()) == (0, NOW, False, False)
    assert open_rows(ledger, run) == [1, 3]
    assert run.rows == 3


def test_the_same_pair_again_is_a_duplicate_of_the_first(ledger: Ledger) -> None:
    """The first row goes; the others name it."""
    run = staged(ledger.engine, [row(1, credential=9), row(2), row(3, credential=9), row(4, credential=9)])
    found = decided(ledger, run)
    assert {number: outcome for number, (outcome, _) in found.items()} == {3: "duplicate", 4: "duplicate"}
    assert found[3][1].startswith("row 1 ")
    assert open_rows(ledger, run) == [1, 2]


@pytest.mark.parametrize(
    "rival",
    [
        row(3, credential=9, person=501),
        row(3, credential=9, person=500, identity=True),
    ],
)
def test_one_credential_for_two_people_is_a_conflict_for_all(ledger: Ledger, rival: object) -> None:
    """None of them is sent, an acs_user_id against an identity neither."""
    run = staged(ledger.engine, [row(1, credential=9), row(2), rival, row(4, credential=9)])  # type: ignore[list-item] # a parameter
    assert {number: outcome for number, (outcome, _) in decided(ledger, run).items()} == dict.fromkeys(
        (1, 3, 4), "conflict"
    )
    assert open_rows(ledger, run) == [2]


def test_one_credential_in_two_workspaces_is_a_conflict(ledger: Ledger) -> None:
    """A credential lives in one workspace; which of the two rows is wrong cannot be known."""
    run = staged(ledger.engine, [row(1, credential=9, workspace=1), row(2, credential=9, workspace=2)])
    assert {outcome for outcome, _ in decided(ledger, run).values()} == {"conflict"}


def test_each_workspace_is_a_shard(ledger: Ledger) -> None:
    """Lanes keep their own marks."""
    run = staged(ledger.engine, [row(1, workspace=1), row(2, workspace=2), row(3, workspace=1), row(4)])
    with ledger.engine.connect() as connection:
        found = connection.execute(
            select(shards.c.shard, shards.c.workspace_id, shards.c.rows).where(shards.c.run_no == run.run_no)
        ).all()
    assert [tuple(each) for each in found] == [(0, uuid(1), 2), (1, uuid(2), 1), (2, None, 1)]


def test_an_interrupted_staging_says_so(ledger: Ledger) -> None:
    """`keep_going` is asked now and then, before the first row too; no further row is read."""
    run = create_run(ledger.engine, spec(), now=NOW)
    rows = iter([row(number) for number in range(1, 5_000)])
    answers = iter([True, False])
    assert not stage(ledger.engine, run, rows, now=NOW, keep_going=lambda: next(answers))
    assert len(list(rows)) > 2_000


def test_an_input_that_breaks_off_breaks_the_staging_off(ledger: Ledger) -> None:
    """The reader's error comes through as it is, from within a COPY too; the ledger takes the next input."""

    def broken() -> Iterator[InputRow]:
        yield row(1)
        yield row(2, reason="bad")
        raise InputError("jobs.csv is cut short")

    run = create_run(ledger.engine, spec(), now=NOW)
    with pytest.raises(InputError, match="cut short"):
        stage(ledger.engine, run, broken(), now=NOW)
    with ledger.engine.connect() as connection:
        for table in (inputs, results):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 0
    assert open_rows(ledger, staged(ledger.engine, [row(1)])) == [1]


def test_a_changed_file_carries_settled_rows_over_by_content(ledger: Ledger) -> None:
    """Assigned rows of the unfinished run of the same name are not sent again, whatever their row number."""
    before = staged(ledger.engine, [row(1), row(2), row(3), row(4)], sha256="a")
    settle(ledger.engine, before, result(1), result(2, Outcome.FAILED), through=3)
    run = staged(
        ledger.engine, [row(1, credential=77), row(2, credential=1), row(3, credential=2)], sha256="b", now=NOW + 60
    )
    found = decided(ledger, run)
    assert list(found) == [2]
    assert found[2][0] == "unchanged"
    assert before.id in found[2][1]
    assert get_run(ledger.engine, before.run_no).state == "superseded"


def test_rows_that_the_superseded_run_left_in_doubt_are_read_back_first(ledger: Ledger) -> None:
    """Within its mark and without a result: whoever sends that credential next asks first."""
    before = staged(ledger.engine, [row(1), row(2), row(3), row(4)], sha256="a")
    settle(ledger.engine, before, result(1), through=3)
    run = staged(ledger.engine, [row(number) for number in range(1, 6)], sha256="b", now=NOW + 60)
    maybe = [
        (each.job.row, each.maybe_applied) for each in fetch_fresh(ledger.engine, run.run_no, 0, after_row=0, limit=9)
    ]
    assert maybe == [(2, True), (3, True), (4, False), (5, False)]


def test_nothing_is_carried_over_after_a_day(ledger: Ledger) -> None:
    """What was so yesterday need not be so now."""
    before = staged(ledger.engine, [row(1), row(2)], sha256="a")
    settle(ledger.engine, before, result(1), through=1)
    run = staged(ledger.engine, [row(1), row(3)], sha256="b", now=NOW + 25 * 3600)
    assert decided(ledger, run) == {}


@pytest.mark.parametrize("hours", [23, 25])
def test_the_day_does_not_begin_again_with_each_change_of_the_file(ledger: Ledger, hours: int) -> None:
    """What was carried over once is carried on as long as it would have been at first, also past a killed run."""
    first = staged(ledger.engine, [row(1), row(2)], sha256="a")
    settle(ledger.engine, first, result(1), through=1)
    second = staged(ledger.engine, [row(1), row(3)], sha256="b", now=NOW + 20 * 3600)
    settle(ledger.engine, second, through=1, now=NOW + 20 * 3600)
    run = staged(ledger.engine, [row(1), row(4)], sha256="c", now=NOW + hours * 3600)
    assert decided(ledger, run) == (decided(ledger, second) if hours < 24 else {})
    assert first.id in decided(ledger, second)[1][1]


def test_nothing_is_carried_over_from_another_workspace(ledger: Ledger) -> None:
    """The same file with the key of another building starts anew."""
    before = staged(ledger.engine, [row(1), row(2)], sha256="a", workspace_id=uuid(1))
    settle(ledger.engine, before, result(1), through=1)
    run = staged(ledger.engine, [row(1), row(3)], sha256="b", workspace_id=uuid(2))
    assert decided(ledger, run) == {}
    assert get_run(ledger.engine, before.run_no).state == "open"


def told_where(number: int, workspace: int) -> Result:
    """Assigned, with the workspace that Seam named in its reply."""
    return result(number, credential_workspace_id=uuid(workspace))


def test_rows_that_name_their_workspaces_are_carried_over(ledger: Ledger) -> None:
    """Keys by workspace belong to no run's workspace: what a row names is where it went."""
    before = staged(ledger.engine, [row(1, workspace=1), row(2, workspace=2), row(3, workspace=2)], sha256="a")
    settle(ledger.engine, before, told_where(1, 1), through=1)
    run = staged(ledger.engine, [row(1, workspace=1), row(2, workspace=2)], sha256="b")
    assert {number: outcome for number, (outcome, _) in decided(ledger, run).items()} == {1: "unchanged"}
    assert get_run(ledger.engine, before.run_no).state == "superseded"


def test_rows_that_name_none_are_not_carried_to_a_key_that_nobody_knows(ledger: Ledger) -> None:
    """The run before went to the workspace of its key, this one's may be another: but it is this file that goes now."""
    before = staged(ledger.engine, [row(1, workspace=1), row(2), row(3)], sha256="a", workspace_id=uuid(9))
    for place, written in enumerate([told_where(1, 1), told_where(2, 9)]):
        claim, writer = claimed(ledger.engine, before)
        writer.write(Batch(results=[written], marks={claim.shards[place].shard: 3}))
        writer.close()
    run = staged(ledger.engine, [row(1, workspace=1), row(2), row(3, person=501)], sha256="b")
    assert {number: outcome for number, (outcome, _) in decided(ledger, run).items()} == {1: "unchanged"}
    assert get_run(ledger.engine, before.run_no).state == "superseded"
    with ledger.engine.connect() as connection:
        marked = connection.execute(select(unsettled.c.row).where(unsettled.c.run_no == run.run_no)).scalars().all()
    assert marked == [3]  # it may have been sent


@pytest.mark.parametrize("home", [None, 9])
def test_a_changed_file_is_sent_instead_of_the_old_one_wherever_its_rows_may_be(
    ledger: Ledger, home: int | None
) -> None:
    """A fleet's submit knows no key: one workspace in common is enough, be it named or that of an unknown key."""
    before = staged(ledger.engine, [row(1, workspace=1), row(2)], sha256="a", workspace_id=uuid(8))
    settle(ledger.engine, before, told_where(1, 1), through=1)
    run = staged(
        ledger.engine, [row(1, workspace=1), row(2)], sha256="b", workspace_id=None if home is None else uuid(home)
    )
    assert list(decided(ledger, run)) == [1]
    assert get_run(ledger.engine, before.run_no).state == "superseded"


def test_another_buildings_file_of_the_same_name_stays(ledger: Ledger) -> None:
    """None of its rows can be of a workspace that the new file has rows of."""
    before = staged(ledger.engine, [row(1, workspace=1), row(2)], sha256="a", workspace_id=uuid(8))
    run = staged(ledger.engine, [row(1, workspace=2), row(3)], sha256="b", workspace_id=uuid(9))
    assert get_run(ledger.engine, before.run_no).state == "open"
    staged(ledger.engine, [row(1, workspace=8), row(3, workspace=9)], sha256="c", workspace_id=uuid(7))
    assert get_run(ledger.engine, run.run_no).state == "superseded"


@pytest.mark.parametrize("is_known", [True, False])
def test_what_a_named_row_was_told_is_not_where_the_others_went(ledger: Ledger, is_known: bool) -> None:  # noqa: FBT001 - a case
    """The workspace that the first credential was found in is its own; that of the key is the one of nameless rows."""
    before = staged(ledger.engine, [row(1, workspace=1), row(2)], sha256="a")
    settle(ledger.engine, before, told_where(1, 1), through=1)
    run = staged(ledger.engine, [row(1, workspace=1), row(2)], sha256="b", workspace_id=uuid(9) if is_known else None)
    assert list(decided(ledger, run)) == [1]
    assert get_run(ledger.engine, before.run_no).state == "superseded"


def test_a_later_write_to_the_credential_stops_the_carrying_over(ledger: Ledger) -> None:
    """Another file gave the credential to somebody else since."""
    before = staged(ledger.engine, [row(1), row(2), row(3)], sha256="a", name="tenants.csv")
    settle(ledger.engine, before, result(1), result(2), through=2)
    other = staged(ledger.engine, [row(1, credential=1, person=900)], sha256="x", name="other.csv")
    settle(ledger.engine, other, result(1, finished_at=NOW + 5), through=1, now=NOW + 5)
    run = staged(ledger.engine, [row(1), row(2), row(4)], sha256="b", name="tenants.csv", now=NOW + 60)
    assert set(decided(ledger, run)) == {2}


def test_an_earlier_in_doubt_result_is_read_back_first(ledger: Ledger) -> None:
    """The ledger's last word on a credential counts across runs and names."""
    before = staged(ledger.engine, [row(1), row(2)], sha256="a", name="one.csv")
    settle(ledger.engine, before, result(1, Outcome.IN_DOUBT), result(2), through=2)
    run = staged(ledger.engine, [row(1), row(2)], sha256="b", name="two.csv")
    with ledger.engine.connect() as connection:
        doubted = connection.execute(
            select(unsettled.c.row, unsettled.c.maybe_applied).where(unsettled.c.run_no == run.run_no)
        ).all()
        states = connection.execute(select(runs.c.state)).scalars().all()
    assert [tuple(each) for each in doubted] == [(1, True)]
    assert states == ["open", "open"]


def test_a_large_workspace_is_cut_into_shards(ledger: Ledger) -> None:
    """At most so many rows each, every row in one of them; without a bound a workspace is one shard."""
    rows = [row(number, workspace=1 + number % 3 % 2) for number in range(1, 31)]
    run = create_run(ledger.engine, spec(), now=NOW)
    assert stage(ledger.engine, run, rows, now=NOW, shard_rows=8)
    with ledger.engine.connect() as connection:
        found = connection.execute(
            select(shards.c.workspace_id, shards.c.rows).where(shards.c.run_no == run.run_no).order_by(shards.c.shard)
        ).all()
        counted = connection.execute(
            select(inputs.c.workspace_id, func.count())
            .where(inputs.c.run_no == run.run_no)
            .group_by(inputs.c.shard, inputs.c.workspace_id)
            .order_by(inputs.c.shard)
        ).all()
    assert [tuple(shard) for shard in found] == [tuple(count) for count in counted]
    assert sorted(shard.rows for shard in found) == [2, 4, 8, 8, 8]


def test_what_another_run_left_in_doubt_outweighs_that_this_one_surely_sent_nothing(ledger: Ledger) -> None:
    """An orderly stop noted the row as not executed; the send of the other run may have been."""
    run = staged(ledger.engine, [row(1), row(2), row(3)], sha256="a", name="one.csv")
    _, writer = claimed(ledger.engine, run)
    writer.write(Batch(lowered={0: 0}, notes=[(1, False, 1), (2, False, 2)]))
    writer.close()
    other = staged(ledger.engine, [row(1, credential=1, person=600)], sha256="b", name="two.csv")
    settle(ledger.engine, other, result(1, Outcome.IN_DOUBT), through=1)
    with ledger.engine.begin() as connection:
        mark_doubtful(connection, run)
    found = fetch_fresh(ledger.engine, run.run_no, 0, after_row=0, limit=9)
    assert [(each.job.row, each.maybe_applied, each.attempts) for each in found] == [
        (1, True, 1),
        (2, False, 2),
        (3, False, 0),
    ]
