"""The closing summary of a run, as a page for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.cli.page import OUTCOME_STYLES, cell, line, open_page, plain_table, stops
from worker.cli.words import amount, in_rows, moment, per_second, span
from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.table import Table

    from worker.history import Comparison
    from worker.report import RunReport

__all__ = ["print_report"]

_MOST_LINES: Final = 15
"""Kinds of failure and workspaces on the page; `--json` tells them all."""


def print_report(report: RunReport) -> None:
    """Write the page to stdout."""
    with open_page() as console:
        _head(console, report)
        for table in _tables(report):
            console.print(table)
        _figures(console, report)
        _ways_on(console, report)


def _head(console: Console, report: RunReport) -> None:
    if report.rehearsal:
        line(console, "REHEARSAL: nothing went to Seam", "bold yellow")
    state = {"open": "not finished", "superseded": "superseded by a later run"}.get(report.state, report.state)
    line(console, f"Run {report.run_id} of {report.name}: {state}{_with_retries(report)}", "bold")
    for note in report.notes:
        line(console, f"{note[:1].upper()}{note[1:]}")
    stops(console, report.stops)


def _with_retries(report: RunReport) -> str:
    if not report.retries:
        return ""
    return ", with 1 retry" if len(report.retries) == 1 else f", with {len(report.retries)} retries"


def _tables(report: RunReport) -> Iterator[Table]:
    yield _outcomes(report)
    if report.warnings:
        table = plain_table("warning", "rows", numbers=("rows",))
        for code, rows in report.warnings.items():
            table.add_row(cell(code), amount(rows))
        yield table
    if report.failures:
        yield _failures(report)
    if report.workspaces:
        yield _workspaces(report)


def _outcomes(report: RunReport) -> Table:
    table = plain_table("outcome", "rows", "", numbers=("rows", ""))
    for outcome in Outcome:
        if rows := report.outcomes.get(outcome, 0):
            share = f"{100 * rows / report.rows:.1f} %"
            table.add_row(cell(outcome.value, OUTCOME_STYLES.get(outcome, "")), amount(rows), share)
    table.add_section()
    table.add_row("all", amount(report.rows), "")
    return table


def _failures(report: RunReport) -> Table:
    table = plain_table("problem", "type", "rows", "e.g. row", "what happened there", numbers=("rows", "e.g. row"))
    for failure in report.failures[:_MOST_LINES]:
        table.add_row(
            cell(failure.outcome.value, OUTCOME_STYLES.get(failure.outcome, "")),
            cell(failure.error_type),
            amount(failure.rows),
            str(failure.example_row),
            cell(failure.message),
        )
    if (more := len(report.failures) - _MOST_LINES) > 0:
        table.add_row("", cell(f"{more} more kinds: --json tells them"))
    return table


def _workspaces(report: RunReport) -> Table:
    present = [outcome for outcome in Outcome if any(place.outcomes.get(outcome) for place in report.workspaces)]
    names = [outcome.value for outcome in present]
    table = plain_table("workspace", *names, numbers=tuple(names))
    for place in report.workspaces[:_MOST_LINES]:
        counts = (amount(place.outcomes.get(outcome, 0)) for outcome in present)
        table.add_row(cell(place.workspace_id or "the API key's own"), *counts)
    if (more := len(report.workspaces) - _MOST_LINES) > 0:
        table.add_row(cell(f"{more} more: --json tells them"))
    return table


def _figures(console: Console, report: RunReport) -> None:
    if report.rows_per_second is not None:
        line(
            console,
            f"Sending   {span(report.sending_seconds)}, {per_second(report.rows_per_second)} rows/s",
        )
    if report.attempts:
        again = f", {amount(report.retried_rows)} of the rows more than once" if report.retried_rows else ""
        line(console, f"Attempts  {amount(report.attempts)}{again}")
    if report.latency is not None:
        late = report.latency
        times = (("median", late.p50), ("90 %", late.p90), ("99 %", late.p99), ("longest", late.max))
        line(console, "Latency   " + ", ".join(f"{name} {amount(value)} ms" for name, value in times))
    if report.drifted:
        line(console, f"Drift     {in_rows(report.drifted)} right after the last run, and changed since")
    if report.since is not None:
        for text in _since(report.since):
            line(console, text)
    if report.results is not None:
        line(console, f"Results   {report.results}")
    line(console, f"Ledger    {report.ledger}")


def _since(since: Comparison) -> Iterator[str]:
    """What is new against the run before, in two lines at most."""
    yield f"Before    run {since.run_id}, sent {moment(since.started_at)}; since then:"
    rows = (
        (since.new, "new", "row"),
        (since.gone, "gone", "its row"),
        (since.changed, "for another person", "row"),
        (since.new_warnings, "with a new warning", "row"),
        (since.worse, "well then and not now", "row"),
    )
    told = [
        f"{amount(change.rows)} {what} (e.g. {where} {change.example_row})"
        for change, what, where in rows
        if change.rows
    ]
    yield "          " + (", ".join(told) or "no row is new, gone, changed or worse")


def _ways_on(console: Console, report: RunReport) -> None:
    if report.next_steps:
        console.print()
    for step in report.next_steps:
        line(console, f"→ {step}", "bold yellow" if report.rehearsal and step == report.next_steps[-1] else "")
