"""Every guard by itself: what it lets pass, what it stops, and the flag that its message names."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from worker.config import Bound, Guards
from worker.errors import ConfigError
from worker.guards import (
    NEEDS_A_FLAG,
    Intent,
    LastRun,
    RowGuard,
    declined,
    doubt_codes,
    hold_back,
    judge_canary,
    resolve_end,
)
from worker.ledger.ahead import FirstRow
from worker.models import Outcome, Result, Stop, StopCause
from worker.seam import WARNING_CODES

if TYPE_CHECKING:
    from collections.abc import Sequence

BERLIN = ZoneInfo("Europe/Berlin")
EVENING = datetime(2026, 11, 24, 22, 0, tzinfo=BERLIN)


def intent(rows: int = 100, last: int | None = None, **changed: Any) -> Intent:
    """A run of so many rows, after one of `last` rows."""
    before = None if last is None else LastRun("20261123-020000-aaaa", last)
    return Intent(**{"run_id": "r", "name": "tower", "rows": rows, "to_send": rows, "last": before, **changed})


def cause_of(stop: Stop | None) -> StopCause | None:
    """Why, if at all."""
    return stop and stop.cause


@pytest.mark.parametrize(
    ("rows", "last", "begun", "guards", "stops"),
    [
        (100, None, False, Guards(), False),
        (0, None, False, Guards(), False),
        (100, 100, False, Guards(), False),
        (50, 100, False, Guards(), False),
        (49, 100, False, Guards(), True),
        (50, 101, False, Guards(), True),
        (0, 1, False, Guards(), True),
        (0, 0, False, Guards(), False),
        (1, 1_000_000, False, Guards(allow_shrink=True), False),
        (49, 100, True, Guards(), False),
    ],
)
def test_a_shrunken_file(*, rows: int, last: int | None, begun: bool, guards: Guards, stops: bool) -> None:
    """Fewer than half of the last run's rows stop it, unless that was allowed, or was when it began."""
    stop = hold_back(intent(rows, last, begun=begun), guards)
    assert cause_of(stop) is (StopCause.SHRUNKEN if stops else None)


def test_a_shrunken_file_is_told_with_both_counts() -> None:
    """And with the flag that goes on."""
    stop = hold_back(intent(0, 300), Guards())
    assert stop is not None
    assert stop.message == (
        "tower has no rows, and run 20261123-020000-aaaa of the same name had 300; nothing was sent. If the file is "
        "whole, run the same command with --allow-shrink"
    )


@pytest.mark.parametrize(
    ("takeovers", "bound", "stops"),
    [
        (None, "0", False),
        (0, "0", False),
        (1, "0", True),
        (5, "5", False),
        (6, "5", True),
        (5, "5%", False),
        (6, "5%", True),
        (6, None, False),
    ],
)
def test_takeovers(takeovers: int | None, bound: str | None, *, stops: bool) -> None:
    """As many as allowed are borne; where owners were not read there is nothing to judge."""
    guards = Guards(max_takeovers=None if bound is None else Bound.parse(bound))
    stop = hold_back(intent(100, takeovers=takeovers), guards)
    assert cause_of(stop) is (StopCause.MAX_TAKEOVERS if stops else None)
    if stop is not None:
        assert f"more than --max-takeovers {bound} allows" in stop.message
        assert "with a higher --max-takeovers" in stop.message


WELL = [
    FirstRow(1, Outcome.ASSIGNED, None),
    FirstRow(2, Outcome.UNCHANGED, None),
    FirstRow(3, Outcome.UNASSIGNED, None),
]
OPEN = FirstRow(4, None, None)
FAILED = FirstRow(5, Outcome.FAILED, "acs_user_not_found: ACS user not found.")
DOUBT = FirstRow(6, Outcome.IN_DOUBT, "timeout")


@pytest.mark.parametrize(
    ("rows", "sent", "words"),
    [
        ([], True, None),
        (WELL, True, None),
        ([*WELL, OPEN], False, None),
        ([*WELL, OPEN], True, "canary row 4 could not be sent, since its workspace stopped"),
        ([*WELL, FAILED], True, "canary row 5 is failed (acs_user_not_found: ACS user not found.). The rest"),
        ([OPEN, FAILED], False, "canary row 5 is failed"),
        ([*WELL, FAILED, DOUBT], True, "; 2 of the first 5 rows are not well. The rest was not sent"),
        ([FirstRow(1, Outcome.CONFLICT, "it belongs to user x")], True, "row 1 is conflict (it belongs to user x)"),
    ],
)
def test_the_canary(rows: Sequence[FirstRow], words: str | None, *, sent: bool) -> None:
    """Well is assigned, unassigned and unchanged; a row without a result is not, once the sending has ended."""
    stop = judge_canary(rows, sent=sent)
    assert (stop is None) is (words is None)
    if stop is not None:
        assert stop.cause is StopCause.CANARY
        assert (words or "") in stop.message
        assert "without --canary" in stop.message


def results(*outcomes: Outcome, codes: str | None = None) -> list[Result]:
    """Results with these outcomes, all with these warnings."""
    return [Result(row, outcome, warning_codes=codes) for row, outcome in enumerate(outcomes, 1)]


def first_stop(guards: Guards, given: Sequence[Result], rows: int = 100) -> tuple[int, Stop] | None:
    """The row at which the guard stops, and why."""
    guard = RowGuard.of(guards, rows)
    assert guard is not None
    return next(((each.row, stop) for each in given if (stop := guard(each)) is not None), None)


def test_nothing_is_looked_at_where_nothing_is_asked() -> None:
    """No guard at all, so that a row pays nothing for it."""
    assert RowGuard.of(Guards(), 100) is None
    assert RowGuard.of(Guards(canary=5, allow_shrink=True), 100) is None


@pytest.mark.parametrize(("bound", "row"), [("0", 1), ("2", 3), ("1%", 2), ("3", None)])
def test_failures(bound: str, row: int | None) -> None:
    """Failed rows and rows in doubt count, others do not."""
    given = results(Outcome.FAILED, Outcome.IN_DOUBT, Outcome.FAILED, Outcome.CONFLICT, Outcome.ASSIGNED)
    found = first_stop(Guards(max_failures=Bound.parse(bound)), given)
    assert (None if found is None else found[0]) == row
    if found is not None:
        assert found[1].cause is StopCause.MAX_FAILURES
        assert (
            f"{row} row{'' if row == 1 else 's'} failed in this execution, more than --max-failures {bound} allows"
            in found[1].message
        )


@pytest.mark.parametrize(
    ("codes", "stops"),
    [
        (None, False),
        ("", False),
        ("being_deleted", False),
        ("needs_to_be_reissued", True),
        ("being_deleted;needs_to_be_reissued", True),
        ("needs_to_be_reissued_soon", False),
    ],
)
def test_warnings(codes: str | None, *, stops: bool) -> None:
    """One whole code among a row's warnings ends the run, however the row came out."""
    guards = Guards(fail_on_warning=("needs_to_be_reissued", "requested_code_unavailable"))
    found = first_stop(guards, results(Outcome.ASSIGNED, codes=codes))
    assert (found is not None) is stops
    if found is not None:
        row, stop = found
        assert (row, stop.cause) == (1, StopCause.FAIL_ON_WARNING)
        assert stop.message.startswith("row 1 came back with the warning needs_to_be_reissued, which --fail-on-warning")
        assert "without --fail-on-warning needs_to_be_reissued" in stop.message


@pytest.mark.parametrize(
    ("codes", "hints"),
    [
        ((), []),
        (("needs_to_be_reissued", "being_deleted"), []),
        (("being_deleted", "needs_reissue"), ["needs_reissue: … did you mean needs_to_be_reissued? It is looked for"]),
        (("colour",), [f"colour: … known are {', '.join(WARNING_CODES)}. It is looked for"]),
    ],
)
def test_a_warning_that_nobody_knows(codes: tuple[str, ...], hints: list[str]) -> None:
    """It may be new, so it is taken; whoever misspelt it is told the nearest."""
    said = [f"--fail-on-warning {hint}".replace("…", "Seam is not known to send such a warning;") for hint in hints]
    assert doubt_codes(codes) == said


def test_failures_are_told_before_warnings() -> None:
    """A failed row beyond the bound is the first reason; within it, its warning still counts."""
    guards = Guards(max_failures=Bound(count=1), fail_on_warning=("x",))
    found = first_stop(guards, results(Outcome.FAILED, codes="x"))
    assert found is not None
    assert found[1].cause is StopCause.FAIL_ON_WARNING


def test_a_deadline_names_the_way_on() -> None:
    """After a span the same command goes on; a time of day has gone by, so another one is wanted."""
    assert resolve_end(Guards(), EVENING) is None
    moment, stop = resolve_end(Guards(deadline=timedelta(hours=2)), EVENING) or (None, None)
    assert moment == EVENING + timedelta(hours=2)
    assert stop is not None
    assert stop.message.endswith("has come; the same command goes on from here")
    moment, stop = resolve_end(Guards(deadline=time(6)), EVENING) or (None, None)
    assert moment == datetime(2026, 11, 25, 6, 0, tzinfo=BERLIN)
    assert stop is not None
    assert stop.cause is StopCause.DEADLINE
    assert "with a later --deadline, or without one" in stop.message


def test_a_time_of_day_must_lie_within_twelve_hours() -> None:
    """A night gone by is no deadline; the same as a span is."""
    with pytest.raises(ConfigError, match="--deadline 21h"):
        resolve_end(Guards(deadline=time(18, 30)), EVENING)
    assert resolve_end(Guards(deadline=timedelta(hours=21)), EVENING) is not None


def test_the_same_command_does_not_go_on_after_some() -> None:
    """After these, a report does not offer it; a refused question is simply asked again."""
    assert {StopCause.CANARY, StopCause.SHRUNKEN, StopCause.MAX_TAKEOVERS} == NEEDS_A_FLAG
    assert declined().cause is StopCause.NOT_CONFIRMED
    assert "--confirm" in declined().message
