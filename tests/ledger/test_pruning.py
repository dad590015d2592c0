"""What may go from a ledger: whole families that have ended long ago, and never what something still needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from tests.ledger.filling import NOW, claimed, finished, result, retried, row, settle, spec, staged
from worker.ledger.pruning import choose_prunable, remove
from worker.ledger.runs import create_run, get_run, note_stop
from worker.ledger.space import give_back
from worker.ledger.tables import metadata, runs
from worker.models import Outcome

if TYPE_CHECKING:
    from worker.ledger import Ledger
    from worker.ledger.runs import Run
    from worker.models import Result

DAY = 86400.0
LATER = NOW + 100 * DAY


def night(ledger: Ledger, day: int, *results: Result, name: str = "jobs.csv") -> Run:
    """A finished run of that day, well unless told otherwise."""
    now = NOW + day * DAY
    run = staged(ledger.engine, [row(1), row(2)], sha256=str(day), now=now, name=name)
    return finished(ledger.engine, run, *(results or (result(1), result(2))), now=now)


def removable(ledger: Ledger, ended_before: float = LATER) -> list[list[int]]:
    """The numbers of the runs that would go, by family."""
    pruning = choose_prunable(ledger.engine, ended_before=ended_before)
    return [[run.run_no for run in family.runs] for family in pruning.removable]


def numbers(ledger: Ledger) -> set[int]:
    """Every run that any table still knows."""
    found: set[int] = set()
    with ledger.engine.connect() as connection:
        for table in metadata.sorted_tables:
            found |= set(connection.execute(select(table.c.run_no).distinct()).scalars())
    return found


def test_what_is_in_use_stays(ledger: Ledger) -> None:
    """A run under way, as on a server beside it; a family to which a retry came since it was looked at."""
    old = night(ledger, 1, result(1), result(2, Outcome.FAILED, retryable=True))
    night(ledger, 2)
    live = staged(ledger.engine, [row(1), row(2)], sha256="live", now=NOW, name="live.csv")
    _, writer = claimed(ledger.engine, live)
    writer.close()
    (family,) = choose_prunable(ledger.engine, ended_before=LATER).removable
    again = retried(ledger.engine, old)
    assert not remove(ledger.engine, family)
    assert numbers(ledger) >= {old.run_no, again.run_no, live.run_no}
    assert removable(ledger) == []


def test_the_latest_and_the_latest_good_one_of_each_name_stay(ledger: Ledger) -> None:
    """However old they are; another name has its own."""
    first = night(ledger, 1)
    good = night(ledger, 2)
    bad = night(ledger, 3, result(1), result(2, Outcome.FAILED, retryable=False))
    night(ledger, 4, result(1), result(2, Outcome.FAILED, retryable=True))
    other = night(ledger, 1, name="other.csv")
    assert removable(ledger) == [[first.run_no], [bad.run_no]]
    for family in choose_prunable(ledger.engine, ended_before=LATER).removable:
        remove(ledger.engine, family)
    assert numbers(ledger) == {good.run_no, bad.run_no + 1, other.run_no}
    assert removable(ledger) == []


def test_only_what_ended_before_that_moment_goes(ledger: Ledger) -> None:
    """The end of the last of a family counts, not its beginning."""
    for day in (1, 2, 3):
        night(ledger, day)
    assert removable(ledger, NOW + 2.5 * DAY) == [[1], [2]]
    assert removable(ledger, NOW + 1.5 * DAY) == [[1]]
    assert removable(ledger, NOW) == []


def test_a_family_goes_whole_or_not_at_all(ledger: Ledger) -> None:
    """A retry that is young or open keeps its run; an undo refers to it too."""
    root = night(ledger, 1, result(1), result(2, Outcome.FAILED, retryable=True))
    retry = retried(ledger.engine, root, now=NOW + DAY)
    night(ledger, 2)
    night(ledger, 3)
    assert removable(ledger) == [[3]]
    finished(ledger.engine, retry, result(2), now=NOW + 50 * DAY)
    assert removable(ledger, NOW + 40 * DAY) == [[3]]
    undo = staged(ledger.engine, [row(1)], kind="undo", parent_no=root.run_no, now=NOW + 60 * DAY, sha256="u")
    assert removable(ledger) == [[3]]
    finished(ledger.engine, undo, result(1, Outcome.UNASSIGNED), now=NOW + 60 * DAY)
    assert removable(ledger) == [[root.run_no, retry.run_no, undo.run_no], [3]]
    remove(ledger.engine, choose_prunable(ledger.engine, ended_before=LATER).removable[0])
    assert numbers(ledger) == {3, 4}


def test_a_retry_makes_a_run_good(ledger: Ledger) -> None:
    """The last word on its rows counts."""
    root = night(ledger, 1, result(1), result(2, Outcome.FAILED, retryable=True))
    finished(ledger.engine, retried(ledger.engine, root), result(2), now=NOW + DAY)
    bad = night(ledger, 2, result(1), result(2, Outcome.FAILED, retryable=True))
    night(ledger, 3, result(1), result(2, Outcome.FAILED, retryable=True))
    assert removable(ledger) == [[bad.run_no]]


def superseded(ledger: Ledger, credential: int) -> Run:
    """A run that died with its one row on the way, and whose file was then changed."""
    run = staged(ledger.engine, [row(1, credential=credential)], sha256="l", now=NOW)
    settle(ledger.engine, run, through=1)
    note_stop(ledger.engine, run.run_no, finished=False, cause=None, message=None, seconds=1.0, now=NOW)
    with ledger.engine.begin() as connection:
        connection.execute(update(runs).where(runs.c.run_no == run.run_no).values(state="superseded"))
    return run


def in_doubt(ledger: Ledger) -> list[int]:
    """The roots of old families that stay for their rows in doubt."""
    return [family.root.run_no for family in choose_prunable(ledger.engine, ended_before=LATER).in_doubt]


def test_a_row_in_doubt_keeps_its_run(ledger: Ledger) -> None:
    """A run of that credential has to read it back; once a retry or a later run has done so, the old run may go."""
    doubtful = finished(
        ledger.engine,
        staged(ledger.engine, [row(1, credential=7), row(2, credential=8)], sha256="d", now=NOW),
        result(1),
        result(2, Outcome.IN_DOUBT),
    )
    left = superseded(ledger, 9)
    night(ledger, 2)
    last = night(ledger, 3)
    assert in_doubt(ledger) == [doubtful.run_no, left.run_no]
    assert removable(ledger) == [[last.run_no - 1]]
    retry = retried(ledger.engine, get_run(ledger.engine, doubtful.run_no))
    finished(ledger.engine, retry, result(2))
    looking = staged(ledger.engine, [row(1, credential=9)], sha256="e", now=NOW + 4 * DAY)
    assert in_doubt(ledger) == [left.run_no]
    finished(ledger.engine, looking, result(1), now=NOW + 4 * DAY)
    assert in_doubt(ledger) == []
    assert [doubtful.run_no, retry.run_no] in removable(ledger)
    assert [left.run_no] in removable(ledger)


def test_a_look_before_the_doubt_is_none(ledger: Ledger) -> None:
    """A run that was made earlier and gone on with later may have sent since another one read the credential."""
    left = staged(ledger.engine, [row(1, credential=9), row(2)], sha256="l", name="left.csv")
    settle(ledger.engine, left, result(2), through=0)
    note_stop(ledger.engine, left.run_no, finished=False, cause=None, message=None, seconds=1.0, now=NOW)
    looking = staged(ledger.engine, [row(1, credential=9)], sha256="e", now=NOW + DAY)
    finished(ledger.engine, looking, result(1, finished_at=NOW + DAY), now=NOW + DAY)
    settle(ledger.engine, left, through=2, now=NOW + 2 * DAY)
    with ledger.engine.begin() as connection:
        connection.execute(update(runs).where(runs.c.run_no == left.run_no).values(state="superseded"))
    night(ledger, 3, name="left.csv")
    assert in_doubt(ledger) == [left.run_no]


def in_hand(ledger: Ledger) -> list[int]:
    """The roots of old families that stay for what they have in hand."""
    return [family.root.run_no for family in choose_prunable(ledger.engine, ended_before=LATER).in_hand]


def test_a_later_word_stays_while_an_unfinished_run_could_be_carried_over(ledger: Ledger) -> None:
    """Only the latest of those words is needed, and none on credentials that the run has not."""
    left = staged(ledger.engine, [row(1), row(2), row(9)], sha256="l", name="left.csv")
    settle(ledger.engine, left, result(1), result(2), through=2)
    night(ledger, 1)
    word = night(ledger, 2)
    for number, day in ((3, 3), (4, 4), (5, 5)):  # of another credential
        other = staged(ledger.engine, [row(1, credential=number + 10)], sha256=str(day), now=NOW + day * DAY)
        finished(ledger.engine, other, result(1), now=NOW + day * DAY)
    assert in_hand(ledger) == [word.run_no]
    assert removable(ledger) == [[word.run_no - 1], [word.run_no + 1], [word.run_no + 2]]
    assert choose_prunable(ledger.engine, ended_before=LATER).removable
    note_stop(ledger.engine, left.run_no, finished=True, cause=None, message=None, seconds=1.0, now=NOW)
    assert in_hand(ledger) == []


def test_the_word_of_a_run_that_was_gone_on_with_later_stays(ledger: Ledger) -> None:
    """Though it was made before the one that could be carried over."""
    older = staged(ledger.engine, [row(1), row(2)], sha256="o", name="older.csv")
    settle(ledger.engine, older, through=0)
    note_stop(ledger.engine, older.run_no, finished=False, cause=None, message=None, seconds=1.0, now=NOW + 1)
    left = staged(ledger.engine, [row(1), row(9)], sha256="l", name="left.csv", now=NOW + DAY)
    settle(ledger.engine, left, result(1), through=1, now=NOW + DAY)
    finished(ledger.engine, older, result(1), result(2), now=NOW + 2 * DAY)
    other = staged(ledger.engine, [row(1, credential=20)], sha256="p", name="older.csv", now=NOW + 3 * DAY)
    finished(ledger.engine, other, result(1), now=NOW + 3 * DAY)
    assert in_hand(ledger) == [older.run_no]


def test_a_later_word_stays_while_an_earlier_run_could_be_retried(ledger: Ledger) -> None:
    """Rows that a retry may choose are left to it."""
    rows = [row(1, credential=1, person=900), row(2, credential=77)]
    earlier = staged(ledger.engine, rows, sha256="e", name="earlier.csv")
    finished(ledger.engine, earlier, result(1, Outcome.FAILED, retryable=True), result(2))
    word = night(ledger, 1)
    for day in (2, 3):
        other = staged(ledger.engine, [row(1, credential=77)], sha256=str(day), now=NOW + day * DAY)
        finished(ledger.engine, other, result(1), now=NOW + day * DAY)
    assert in_hand(ledger) == [word.run_no]
    later = staged(ledger.engine, [row(1, credential=1)], sha256="z", name="later.csv", now=NOW + 4 * DAY)
    finished(ledger.engine, later, result(1), now=NOW + 4 * DAY)
    assert in_hand(ledger) == []


def test_an_open_run_stays(ledger: Ledger) -> None:
    """It can still go on."""
    left = staged(ledger.engine, [row(1)], sha256="l", now=NOW)
    settle(ledger.engine, left, through=1)
    night(ledger, 2, name="jobs.csv")
    with ledger.engine.begin() as connection:  # the next file of the name has superseded it
        connection.execute(update(runs).where(runs.c.run_no == left.run_no).values(state="open"))
    night(ledger, 3)
    night(ledger, 4)
    assert removable(ledger) == [[2], [3]]


def test_the_room_is_given_back(ledger: Ledger) -> None:
    """The file shrinks where that is worth it, is a ledger as before, and says what it keeps for later else."""
    for day in (1, 2, 3):
        run = staged(ledger.engine, (row(number) for number in range(1, 3000)), sha256=str(day), now=NOW + day * DAY)
        finished(ledger.engine, run, result(1), now=NOW + day * DAY)
    space = give_back(ledger.engine)
    if ledger.engine.dialect.name != "sqlite":
        assert space is None  # the server does that by itself
        return
    assert space is not None
    assert (space.before, space.needs) == (space.after, 0)
    for family in choose_prunable(ledger.engine, ended_before=LATER).removable:
        remove(ledger.engine, family)
    space = give_back(ledger.engine)
    assert space is not None
    assert space.after < space.before * 0.6
    assert space.free_inside == 0
    assert Path(ledger.engine.url.database or "").stat().st_size == space.after
    with ledger.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(runs)).scalar() == 1
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert connection.exec_driver_sql("PRAGMA application_id").scalar() == 0x41574B31


def test_what_was_left_half_read_is_not_the_latest_run(ledger: Ledger) -> None:
    """A process was killed while it read the next file of the name: the run that is there stays."""
    last = night(ledger, 1, result(1), result(2, Outcome.FAILED, retryable=True))
    create_run(ledger.engine, spec(), now=NOW + 2 * DAY)
    assert removable(ledger) == []
    assert last.run_no in numbers(ledger)
