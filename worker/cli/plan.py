"""`assign-worker plan`: what a sync would do, row by row; nothing is sent."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli.loading import begin
from worker.cli.options import GroupedCommand, as_json, config, declare, option, reading_tries, setting, takes_no_key

if TYPE_CHECKING:
    from rich.console import Console

    from worker.planning import PlanReport

__all__ = ["command"]

_MEANING: Final = {
    "new": "nobody has it: given",
    "takeover": "somebody else has it",
    "unchanged": "the person has it already: nothing is sent",
    "unknown_credential": "Seam knows no such credential: nothing is sent",
    "being_deleted": "it is being deleted: nothing is sent",
    "child": "one phone's part of a multi-phone credential: nothing is sent",
    "unreadable": "whose it is could not be read",
    "invalid": "the row is no assignment: nothing is sent",
    "conflict": "the file wants it for several people: nothing is sent",
    "duplicate": "the same as an earlier row",
}


@click.command(
    "plan",
    cls=GroupedCommand,
    epilog="Exit codes: 0 every row is right or would be sent; 1 some row needs a look; 2 no plan could be made; "
    "3 not every owner could be read; 4 another process holds the ledger; 130 and 143 interrupted.",
)
@click.argument("jobs", metavar="JOBS")
@declare(
    takes_no_key,
    config,
    as_json,
    option("Record", "--results", metavar="FILE", help="Write every row, with its sentence. Default: none."),
    option("Sending", "--takeover", metavar="allow|refuse", help="Of what somebody else has. Default: refuse."),
    reading_tries,
    setting(
        *("format", "encoding", "map"),
        *("ledger", "name", "include_codes", "raw_cells"),
        *("endpoint", "proxy", "ca_file"),
        *("concurrency", "rate", "timeout", "outage_patience"),
        *("log_format", "log_level", "quiet", "progress"),
    ),
)
def command(
    jobs: str,
    *,
    config_file: str | None,
    as_json: bool,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """Read whose the credentials of JOBS are, and say what `run --sync` would do with each row.

    Nothing is sent, and no run is kept. With --results FILE every row is written, with its sentence.
    """
    settings = begin(flags, config_file, f"the plan for {jobs}", own_results=True)

    from worker.cli.execution import conclude, execute  # noqa: PLC0415 - slow to import
    from worker.planning import make_plan  # noqa: PLC0415 - likewise

    report = execute(settings, partial(make_plan, None if jobs == "-" else Path(jobs)), is_told=False)
    conclude(report, _print, as_json=as_json)


def _print(report: PlanReport) -> None:
    from worker.cli.page import cell, line, open_page, plain_table, stops  # noqa: PLC0415 - slow to import
    from worker.cli.words import amount  # noqa: PLC0415 - likewise

    with open_page() as console:
        line(console, f"Plan for {report.name}: nothing was sent", "bold")
        stops(console, report.stops)
        table = plain_table("plan", "rows", "e.g. row", "meaning", numbers=("rows", "e.g. row"))
        known = [word for word in _MEANING if word in report.intentions]
        for word in (*known, *(other for other in report.intentions if other not in _MEANING)):
            meaning = _MEANING.get(word, "")
            if word == "takeover":
                meaning += ": taken over" if report.takeover == "allow" else ": left alone, takeover is refused"
            table.add_row(cell(word), amount(report.intentions[word]), str(report.examples[word]), cell(meaning))
        table.add_section()
        table.add_row("all", amount(report.rows), "", "")
        console.print(table)
        _say_more(console, report)


def _say_more(console: Console, report: PlanReport) -> None:
    from worker.cli.page import line  # noqa: PLC0415 - slow to import
    from worker.cli.words import amount, in_rows  # noqa: PLC0415 - likewise

    line(console, f"To send   {in_rows(report.to_send)}; the owners took {amount(report.requests)} reading calls")
    if report.may_create_users:
        line(console, f"Users     {in_rows(report.may_create_users)} by identity may make Seam create a user")
    if report.drifted:
        line(
            console,
            f"Drift     {in_rows(report.drifted)} right after the last run of this name, and not now",
        )
    if report.results is not None:
        line(console, f"Rows      {report.results}")
