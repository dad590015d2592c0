"""What is said of a run that has ended, in a notification: a title and a page of plain text.

It leaves the machine, so it holds counts, kinds of failure with one example each, and sentences of ours: no ids of
people or credentials, no columns of the input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from worker.cli.words import amount, in_rows
from worker.logs import escape_controls
from worker.models import NOT_WELL, Outcome
from worker.report import RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from worker.models import Stop
    from worker.report import Failure
    from worker.verifying import VerifyReport

__all__ = ["Ended", "Message", "of_ended", "of_error"]

MOST_LINES: Final = 5
"""Of a kind: failures, stops, warnings."""
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
LONGEST_TEXT: Final = 300
"""Characters of a text of foreign origin."""


@dataclass(frozen=True)
class Message:
    """A notification."""

    title: str
    body: str
    exit_code: int


class Ended(Protocol):
    """Whatever a command comes to."""

    @property
    def exit_code(self) -> int:
        """That the command ends with."""
        ...


def of_ended(report: Ended, subject: str) -> Message:
    """What a command came to; `subject` is what it did, for a report that says no more than its exit code."""
    if isinstance(report, RunReport):
        return _of_run(report)
    from worker.verifying import VerifyReport  # noqa: PLC0415 - not needed by a run, which is to start at once

    if isinstance(report, VerifyReport):
        return _of_verification(report)
    how = "all is well" if report.exit_code == 0 else "something is to look at"
    title = f"assign-worker: {_plain(subject)} ended, {how}"
    return Message(title, f"It ended with exit code {report.exit_code}.", report.exit_code)


def _of_run(report: RunReport) -> Message:
    """Counts, what failed most, why it stopped, and what to do."""
    name = _plain(report.name)
    rehearsal = "rehearsal of " if report.rehearsal else ""
    lines = [f"Run {report.run_id} of {name} ended with exit code {report.exit_code}.", _counts(report)]
    if report.drifted:
        lines.append(f"Drifted since the last run of this name: {in_rows(report.drifted)}.")
    lines += _warnings(report.warnings)
    lines += _stops(report.stops)
    lines += _listed("What failed most:", [f"- {_kind(failure)}" for failure in report.failures])
    lines += _listed("To do:", [f"- {_plain(step, longest=2000)}" for step in report.next_steps])
    lines += _listed("", [_plain(note) for note in report.notes])
    return Message(f"assign-worker: {rehearsal}{name} {_ending(report)}", "\n".join(lines), report.exit_code)


def _of_verification(report: VerifyReport) -> Message:
    """How many rows were found as they should be, and what the others are."""
    name, off = _plain(report.name), report.accepted - report.findings.get("confirmed", 0)
    how = f"{in_rows(off)} of {amount(report.accepted)} not yet right" if off else "all is well"
    stages = (
        f"Confirmed: {amount(report.confirmed)}; synced with the provider: {amount(report.synced)}; "
        f"cards issued: {amount(report.issued)} of {amount(report.cards)}."
    )
    found = ", ".join(f"{amount(rows)} {word}" for word, rows in report.findings.items() if rows)
    lines = [
        f"The verification of run {report.run_id} of {name} ended with exit code {report.exit_code}.",
        f"{in_rows(report.accepted)} accepted{f': {found}' if found else ''}.",
        stages,
        *_warnings(report.warnings),
        *_stops(report.stops),
    ]
    return Message(f"assign-worker: {name} verified, {how}", "\n".join(lines), report.exit_code)


def of_error(subject: str, reason: str, exit_code: int) -> Message:
    """A command that ended with an error, and so without a report; `subject` is what it did, as `the run of x.csv`."""
    subject = _plain(subject)
    return Message(
        f"assign-worker: {subject} ended with an error",
        f"{subject[:1].upper()}{subject[1:]} ended with exit code {exit_code}.\n\n{_plain(reason, longest=2000)}",
        exit_code,
    )


def _ending(report: RunReport) -> str:
    if report.state == "finished":
        bad = sum(report.outcomes.get(outcome, 0) for outcome in NOT_WELL)
        return f"finished, {in_rows(bad)} of {amount(report.rows)} to look at" if bad else "finished, all is well"
    left = report.outcomes.get(Outcome.PENDING, 0)
    return f"stopped early, {in_rows(left)} of {amount(report.rows)} not sent"


def _counts(report: RunReport) -> str:
    counts = (f"{amount(rows)} {outcome.value}" for outcome in Outcome if (rows := report.outcomes.get(outcome, 0)))
    return f"{in_rows(report.rows)}: {', '.join(counts)}." if report.rows else "It had no rows."


def _warnings(warnings: Mapping[str, int]) -> Iterator[str]:
    told = [f"{amount(rows)} {_plain(code)}" for code, rows in warnings.items()]
    if told:
        more = f", and {len(told) - MOST_LINES} more kinds" if len(told) > MOST_LINES else ""
        yield f"Warnings: {', '.join(told[:MOST_LINES])}{more}."


def _stops(stops: Sequence[Stop]) -> Iterator[str]:
    return _listed("", [f"Stopped{_whose(stop.workspace_id)}: {_nameless(stop.message)}" for stop in stops])


def _whose(workspace_id: str | None) -> str:
    return f" (workspace {_plain(workspace_id)})" if workspace_id else ""


def _kind(failure: Failure) -> str:
    kind = f"{failure.outcome.value}{f', {_plain(failure.error_type)}' if failure.error_type else ''}"
    # What is wrong with a row of the input is told by repeating a cell of it.
    said = f": {_nameless(failure.message)}" if failure.message and failure.outcome is not Outcome.INVALID else ""
    return f"{in_rows(failure.rows)} {kind}; e.g. row {failure.example_row}{said}"


def _listed(heading: str, lines: list[str]) -> Iterator[str]:
    """A paragraph, bounded; nothing of it where there are no lines."""
    if not lines:
        return
    yield ""
    if heading:
        yield heading
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"… and {len(lines) - MOST_LINES} more"


def _nameless(text: str) -> str:
    """Plain, and without the ids of people and credentials that a sentence may name."""
    return _plain(_ID.sub("(id)", text))


def _plain(text: str, *, longest: int = LONGEST_TEXT) -> str:
    """On one line, without what drives a terminal, and not too long."""
    text = escape_controls(text)
    return text if len(text) <= longest else f"{text[:longest]}…"
