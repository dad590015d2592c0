"""`assign-worker verify`: reads what a run assigned back, in three stages of truth."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli.loading import begin
from worker.cli.options import (
    TELLING,
    GroupedCommand,
    as_json,
    config,
    declare,
    ledger_here,
    option,
    reading_tries,
    setting,
    takes_no_key,
)

if TYPE_CHECKING:
    from worker.verifying import VerifyReport

__all__ = ["command"]

_MEANING: Final = {
    "confirmed": "the person has it",
    "waiting": "the person has it; its sync, or its card, is still waited for",
    "other_owner": "somebody else has it now",
    "no_owner": "nobody has it now",
    "gone": "Seam knows no such credential any more",
    "unreadable": "whose it is could not be read",
}


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float:
    from worker.config.values import parse_seconds  # noqa: PLC0415 - slow to import

    if value is None:
        return 0.0
    try:
        return parse_seconds(value)
    except ValueError:
        raise click.UsageError(
            f"--wait: {value!r} is not allowed; allowed: a duration such as 90s, 10m or 1h"
        ) from None


@click.command(
    "verify",
    cls=GroupedCommand,
    epilog="Exit codes: 0 every row is confirmed, and nothing is waited for; 1 something is off; 2 nothing was read; "
    "3 not every row could be read; 4 another process holds the ledger; 130 and 143 interrupted.",
)
@click.argument("run", required=False)
@declare(
    takes_no_key,
    config,
    option(
        "Options",
        "--wait",
        metavar="SPAN",
        callback=_seconds,
        help="While rows are waited for, look again for so long. Default: 0s.",
    ),
    as_json,
    ledger_here,
    option("Record", "--results", metavar="FILE", help="Write every row, with what was found. Default: none."),
    reading_tries,
    setting(
        *("include_codes", "raw_cells"),
        *("endpoint", "proxy", "ca_file"),
        *("concurrency", "rate", "timeout", "outage_patience"),
        *TELLING,
        *("log_format", "log_level", "quiet", "progress"),
    ),
)
def command(
    run: str | None,
    *,
    config_file: str | None,
    wait: float,
    as_json: bool,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """Read back every row that RUN and its retries assigned; without RUN, the latest run's.

    Told are its owner, whether the lock maker's system has followed, whether a card is encoded, and what warnings
    remain. Nothing is sent.
    """
    settings = begin(flags, config_file, "the verification", own_results=True)

    from worker.cli.execution import conclude, execute  # noqa: PLC0415 - slow to import
    from worker.verifying import verify_run  # noqa: PLC0415 - likewise

    report = execute(settings, partial(verify_run, run, wait=wait))
    conclude(report, _print, as_json=as_json)


def _print(report: VerifyReport) -> None:
    from worker.cli.page import cell, line, open_page, plain_table, stops  # noqa: PLC0415 - slow to import
    from worker.cli.words import amount  # noqa: PLC0415 - likewise

    with open_page() as console:
        line(console, f"Run {report.run_id} of {report.name}: {amount(report.accepted)} rows accepted", "bold")
        stops(console, report.stops)
        table = plain_table("found", "rows", "e.g. row", "meaning", numbers=("rows", "e.g. row"))
        for word, meaning in _MEANING.items():
            if rows := report.findings.get(word):
                style = "green" if word == "confirmed" else "yellow" if word == "waiting" else "red"
                table.add_row(cell(word, style), amount(rows), str(report.examples[word]), cell(meaning))
        console.print(table)
        line(console, f"Owner     {amount(report.confirmed)} of {amount(report.accepted)} rows confirmed")
        untold = f"; of {amount(report.sync_untold)} Seam does not say" if report.sync_untold else ""
        line(console, f"Provider  {amount(report.synced)} of them synced{untold}")
        if report.cards:
            untold = f"; of {amount(report.issue_untold)} Seam does not say" if report.issue_untold else ""
            line(console, f"Cards     {amount(report.issued)} of {amount(report.cards)} issued{untold}")
        for code, rows in report.warnings.items():
            line(console, f"Warning   {code}: {amount(rows)} rows")
        if report.results is not None:
            line(console, f"Rows      {report.results}")
