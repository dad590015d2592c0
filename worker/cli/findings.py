"""What `check` found, as a page or as JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from worker.cli.page import OUTCOME_STYLES, cell, line, open_page, plain_table
from worker.cli.stdout import as_json, may_close
from worker.cli.words import amount

if TYPE_CHECKING:
    from rich.console import Console

    from worker.checking import CheckReport

__all__ = ["print_findings", "write_findings"]

_MOST_PROBLEMS: Final = 50


def write_findings(report: CheckReport) -> None:
    """Write one JSON document with every problem to stdout, as they come, in flat memory."""
    with may_close():
        write = sys.stdout.write
        write(as_json(report.as_dict())[:-1] + ', "problems": [')
        separator = "\n"
        for problem in report.problems():
            record = {**problem._asdict(), "kind": problem.kind.value}
            write(separator + as_json(record))
            separator = ",\n"
        write("\n]}\n")


def print_findings(report: CheckReport, name: str) -> None:
    """Write the first problems and the counts to stdout."""
    with open_page() as console:
        found = report.invalid + report.duplicate + report.conflict
        if found:
            _problems(console, report, found)
        rows = "1 row" if report.rows == 1 else f"{amount(report.rows)} rows"
        line(console, f"{name}: {rows}, {amount(report.sendable)} to send", "bold")
        for count, what in (
            (report.invalid, "invalid: not sent until they are corrected"),
            (report.conflict, "in conflict: one credential for several people; none of these rows is sent"),
            (report.duplicate, "duplicate: the same pair stands on an earlier row, which is sent"),
        ):
            if count:
                line(console, f"  {amount(count)} {what}")
        if report.workspaces > 1:
            line(console, f"  in {amount(report.workspaces)} workspaces")


def _problems(console: Console, report: CheckReport, found: int) -> None:
    table = plain_table("row", "line", "problem", "column", "what is wrong", numbers=("row", "line"))
    for problem in report.problems(_MOST_PROBLEMS):
        table.add_row(
            str(problem.row),
            str(problem.line),
            cell(problem.kind.value, OUTCOME_STYLES.get(problem.kind, "")),
            cell(problem.column),
            cell(problem.sentence),
        )
    console.print(table)
    if found > _MOST_PROBLEMS:
        line(console, f"and {amount(found - _MOST_PROBLEMS)} more: --json tells them all")
        console.print()
