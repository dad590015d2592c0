"""What the API key's workspace, once it is known, decides of rows that were read before."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from tests.ledger.filling import NOW, result, row, settle, staged, uuid
from worker.errors import ConfigError
from worker.ledger.chains import chain_of
from worker.ledger.elsewhere import judge_workspaces
from worker.ledger.retries import Choice, Chosen, count_chosen
from worker.ledger.runs import get_run, learn_workspace, note_stop
from worker.ledger.tables import results
from worker.models import Outcome

if TYPE_CHECKING:
    from worker.ledger import Ledger
    from worker.ledger.runs import Run
    from worker.models import InputRow

HERE, ELSEWHERE = 7, 8


def judged(ledger: Ledger, run: Run, *, only: bool = True) -> int:
    """How many rows the workspace decides."""
    return judge_workspaces(ledger.engine, run, uuid(HERE), only=only, now=NOW)


def outcomes(ledger: Ledger, run: Run) -> dict[int, tuple[str, str | None]]:
    """Row -> outcome and detail."""
    with ledger.engine.connect() as connection:
        found = connection.execute(
            select(results.c.row, results.c.outcome, results.c.detail).where(results.c.run_no == run.run_no)
        )
        return {number: (outcome, detail) for number, outcome, detail in found}


def words(ledger: Ledger, run: Run) -> dict[int, str]:
    """Row -> outcome."""
    return {number: outcome for number, (outcome, _) in outcomes(ledger, run).items()}


def test_rows_of_another_workspace_than_the_key_are_invalid(ledger: Ledger) -> None:
    """Found before anything is sent; rows that name none go."""
    run = staged(ledger.engine, [row(1, workspace=HERE), row(2), row(3, workspace=ELSEWHERE)])
    assert judged(ledger, run) == 1
    found = outcomes(ledger, run)
    assert list(found) == [3]
    assert found[3][0] == "invalid"
    assert uuid(ELSEWHERE) in (found[3][1] or "")


def repeats(*places: int | None) -> list[InputRow]:
    """One credential for one person, in these workspaces, and a row of its own before and after."""
    among = [row(number, credential=99, workspace=place) for number, place in enumerate(places, 2)]
    return [row(1), *among, row(len(places) + 2)]


@pytest.mark.parametrize("only", [True, False])
@pytest.mark.parametrize("places", [*permutations([None, ELSEWHERE]), (None, ELSEWHERE, None), (ELSEWHERE, None, None)])
def test_repeats_in_two_workspaces_are_in_conflict_in_any_order(
    ledger: Ledger, places: tuple[int | None, ...], *, only: bool
) -> None:
    """As if the row that names none had named the key's: which of them is wrong cannot be known, so none is sent."""
    run = staged(ledger.engine, repeats(*places))
    assert "duplicate" in words(ledger, run).values()
    rows = range(2, len(places) + 2)
    assert judged(ledger, run, only=only) == len(places)
    found = outcomes(ledger, run)
    assert {number: outcome for number, (outcome, _) in found.items()} == dict.fromkeys(rows, "conflict")
    assert (found[2][1] or "").startswith(f"{len(places)} rows want this credential")
    assert judged(ledger, run, only=only) == 0


@pytest.mark.parametrize("places", [*permutations([None, HERE])])
def test_repeats_in_the_keys_own_workspace_are_duplicates(ledger: Ledger, places: tuple[int | None, ...]) -> None:
    """Named or not, it is the same."""
    run = staged(ledger.engine, [*repeats(*places), row(9, workspace=ELSEWHERE)])
    assert judged(ledger, run) == 1
    assert words(ledger, run) == {3: "duplicate", 9: "invalid"}


def test_where_the_default_workspace_is_told_the_file_is_judged_by_it_as_it_is_read(ledger: Ledger) -> None:
    """A personal access token goes with one by name."""
    run = staged(ledger.engine, repeats(None, ELSEWHERE), workspace_id=uuid(HERE))
    assert words(ledger, run) == {2: "conflict", 3: "conflict"}


def test_a_repeat_that_was_sent_stays_as_it_is(ledger: Ledger) -> None:
    """A key that became readable only afterwards changes no word that was given."""
    run = staged(ledger.engine, repeats(None, ELSEWHERE))
    settle(ledger.engine, run, result(1), result(2), through=2)
    assert judged(ledger, run) == 0
    assert words(ledger, run) == {1: "assigned", 2: "assigned", 3: "duplicate"}


def test_a_repeat_that_may_have_been_sent_stays_so(ledger: Ledger) -> None:
    """It is read back; a conflict would say that nothing was."""
    run = staged(ledger.engine, repeats(None, ELSEWHERE))
    settle(ledger.engine, run, result(1), through=2)
    assert judged(ledger, run) == 0
    assert words(ledger, run) == {1: "assigned", 3: "duplicate"}


def test_a_row_that_may_have_been_sent_elsewhere_is_refused(ledger: Ledger) -> None:
    """Only the key that it was sent with can tell what became of it."""
    run = staged(ledger.engine, [row(1, workspace=ELSEWHERE), row(2, workspace=ELSEWHERE)])
    settle(ledger.engine, run, result(1), through=2)
    with pytest.raises(ConfigError, match=f"row 2 of run {run.id} is of workspace {uuid(ELSEWHERE)}"):
        judged(ledger, run)


def test_a_dispute_over_workspaces_is_not_retried(ledger: Ledger) -> None:
    """`--outcome conflict` is for owners that have changed, not for what the file itself disputes."""
    run = learn_workspace(ledger.engine, staged(ledger.engine, repeats(None, ELSEWHERE)).run_no, uuid(HERE))
    judged(ledger, run)
    settle(ledger.engine, run, result(1), result(4), through=4)
    note_stop(ledger.engine, run.run_no, finished=True, cause=None, message=None, seconds=1.0, now=NOW)
    chain = chain_of(ledger.engine, get_run(ledger.engine, run.run_no).run_no)
    assert count_chosen(ledger.engine, chain, Choice((Outcome.CONFLICT,))) == Chosen(0, 0)
