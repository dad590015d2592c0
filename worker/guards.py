"""What ends a run before its last row, resumable: all rules against a bad file, in one place (DESIGN 11.17).

    before the first send   `hold_back`      the file is far shorter than the last one; too many takeovers
    after the first rows    `judge_canary`   some of them are not well
    at every result         `RowGuard`       too many failed rows; a warning that was named
    by the clock            `resolve_end`    the deadline

Pure but for the counts of `RowGuard`: each is told what it judges and gives a `Stop` or None. Every message names
the flag that goes on. Guards count what one execution does; what was borne before is not counted again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from worker.config import resolve_deadline
from worker.models import Outcome, Stop, StopCause
from worker.seam import WARNING_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.config import Guards
    from worker.ledger.ahead import FirstRow
    from worker.models import Result

__all__ = [
    "NEEDS_A_FLAG",
    "SHRUNKEN_BELOW",
    "Intent",
    "LastRun",
    "RowGuard",
    "declined",
    "doubt_codes",
    "hold_back",
    "judge_canary",
    "resolve_end",
]

SHRUNKEN_BELOW: Final = 0.5
"""An input with a smaller share of the last one's rows than this is taken for a broken export."""
NEEDS_A_FLAG: Final = frozenset({StopCause.CANARY, StopCause.SHRUNKEN, StopCause.MAX_TAKEOVERS})
"""After these, the same command as it was would stop at the same place again."""
_WELL: Final = frozenset({Outcome.ASSIGNED, Outcome.UNASSIGNED, Outcome.UNCHANGED})
_BAD: Final = frozenset({Outcome.FAILED, Outcome.IN_DOUBT})


@dataclass(frozen=True)
class LastRun:
    """The last finished run of the same name, to compare with."""

    run_id: str
    rows: int
    outcomes: Mapping[Outcome, int] | None = None
    """None: not counted, since nobody is shown them."""


@dataclass(frozen=True)
class Intent:
    """What a run is about to do: all is staged and decided that can be without sending."""

    run_id: str
    name: str
    rows: int
    to_send: int
    """Rows without a result."""
    decided: Mapping[Outcome, int] = field(default_factory=dict)
    """Rows with one by outcome, those of earlier executions included."""
    begun: bool = False
    """An earlier execution has passed the guards and begun to send."""
    last: LastRun | None = None
    """None: there is none, or the run is not one of a file."""
    new: int | None = None
    """Of `to_send`: credentials that nobody had when the present owners were read; None where they were not."""
    takeovers: int | None = None
    """Of `to_send`: credentials that somebody else had; likewise."""


def hold_back(intent: Intent, guards: Guards) -> Stop | None:
    """Why nothing of this run should be sent, if so."""
    last = intent.last
    if last is not None and not (guards.allow_shrink or intent.begun) and intent.rows < last.rows * SHRUNKEN_BELOW:
        return Stop(
            StopCause.SHRUNKEN,
            f"{intent.name} has {_rows(intent.rows)}, and run {last.run_id} of the same name had {last.rows}; nothing "
            "was sent. If the file is whole, run the same command with --allow-shrink",
        )
    bound = guards.max_takeovers
    if bound is not None and intent.takeovers is not None and bound.exceeded(intent.takeovers, intent.rows):
        return Stop(
            StopCause.MAX_TAKEOVERS,
            f"{_rows(intent.takeovers)} would take a credential from somebody else, more than --max-takeovers {bound} "
            "allows; nothing was sent. If they may, run the same command with a higher --max-takeovers",
        )
    return None


def declined() -> Stop:
    """The answer to `--confirm` was no."""
    return Stop(
        StopCause.NOT_CONFIRMED,
        "not confirmed, so nothing was sent; the same command asks again, and sends without asking if --confirm is "
        "left out",
    )


def judge_canary(rows: Sequence[FirstRow], *, sent: bool = False) -> Stop | None:
    """Whether the first rows have shown that the rest should not go.

    Args:
        rows: the canary.
        sent: its sending has ended of itself, so that a row without a result is not well either.
    """
    bad = [row for row in rows if row.outcome is not None and row.outcome not in _WELL]
    if not bad:
        left = next((row for row in rows if row.outcome is None), None) if sent else None
        return left and Stop(
            StopCause.CANARY,
            f"canary row {left.row} could not be sent, since its workspace stopped, and so the rest was not sent; "
            "when that is put right, run the same command again, or without --canary to send what can be sent",
        )
    first = bad[0]
    many = f"; {len(bad)} of the first {len(rows)} rows are not well" if len(bad) > 1 else ""
    return Stop(
        StopCause.CANARY,
        f"canary row {first.row} is {first.outcome} ({first.reason}){many}. The rest was not sent; look at it, "
        "then run the same command without --canary to send the rest",
    )


class RowGuard:
    """Looks at every result of one execution.

    Args:
        guards: the settings.
        rows: of the run; what a percentage is of.
    """

    def __init__(self, guards: Guards, rows: int) -> None:
        self._max_failures = guards.max_failures
        self._codes = frozenset(guards.fail_on_warning)
        self._rows = rows
        self._bad = 0

    @classmethod
    def of(cls, guards: Guards, rows: int) -> RowGuard | None:
        """A guard, or None where the settings ask for none."""
        return cls(guards, rows) if guards.max_failures is not None or guards.fail_on_warning else None

    def __call__(self, result: Result) -> Stop | None:
        """Why the run has to end after this result, if so."""
        if result.outcome in _BAD:
            self._bad += 1
            bound = self._max_failures
            if bound is not None and bound.exceeded(self._bad, self._rows):
                return Stop(
                    StopCause.MAX_FAILURES,
                    f"{_rows(self._bad)} failed in this execution, more than --max-failures {bound} allows; "
                    "look at them, then run the same command again, with a higher --max-failures if they may",
                )
        return self.look_at_warnings(result) if result.warning_codes and self._codes else None

    def look_at_warnings(self, result: Result) -> Stop | None:
        """Only that; for details that follow a result."""
        found = self._codes.intersection((result.warning_codes or "").split(";"))
        if not found:
            return None
        code = min(found)
        return Stop(
            StopCause.FAIL_ON_WARNING,
            f"row {result.row} came back with the warning {code}, which --fail-on-warning names; look at it, then run "
            f"the same command to go on from here, without --fail-on-warning {code} if more of them may come",
        )


def doubt_codes(codes: Sequence[str]) -> list[str]:
    """A sentence for each warning code of `--fail-on-warning` that Seam is not known to send.

    None is refused: the service sends new ones before anybody writes them down.
    """
    sentences = []
    for code in codes:
        if code not in WARNING_CODES:
            near = get_close_matches(code, WARNING_CODES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(WARNING_CODES)}."
            sentences.append(
                f"--fail-on-warning {code}: Seam is not known to send such a warning; {hint} It is looked for"
            )
    return sentences


def resolve_end(guards: Guards, now: datetime) -> tuple[datetime, Stop] | None:
    """When `--deadline` comes, seen from `now`, and what it then says.

    Raises:
        ConfigError: it is a time of day more than 12 hours ahead.
    """
    if guards.deadline is None:
        return None
    moment = resolve_deadline(guards.deadline, now)
    again = (
        "run the same command with a later --deadline, or without one, to go on from here"
        if isinstance(guards.deadline, time)
        else "the same command goes on from here"
    )
    return moment, Stop(StopCause.DEADLINE, f"--deadline {moment.astimezone():%Y-%m-%d %H:%M:%S} has come; {again}")


def _rows(count: int) -> str:
    return "no rows" if count == 0 else "1 row" if count == 1 else f"{count} rows"
