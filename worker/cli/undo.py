"""`assign-worker undo`: gives back what a run assigned."""

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
    recover,
    setting,
    takes_no_key,
)
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.undoing import UndoPlan

__all__ = ["command"]

_GUARDS: Final = ("max_failures", "canary", "fail_on_warning")


@click.command(
    "undo",
    cls=GroupedCommand,
    epilog="Exit codes: 0 every row was given back; 1 some rows stay as they are; 2 nothing was sent; 3 stopped early, "
    "resumable by the same command; 4 another process holds the ledger or the run; 130 and 143 interrupted, resumable.",
)
@click.argument("run", required=False)
@declare(
    takes_no_key,
    config,
    option(
        "Options", "--dry-run", is_flag=True, default=False, help="Read the present owners, say what would be done."
    ),
    recover,
    as_json,
    ledger_here,
    option("Record", "--results", metavar="FILE", help="Default: NAME.undone.csv or .jsonl beside the ledger's file."),
    setting(
        *("include_codes", "raw_cells"),
        *("endpoint", "proxy", "ca_file"),
        *("concurrency", "rate", "timeout", "max_attempts", "outage_patience", "details"),
        *_GUARDS,
        "deadline",
        *TELLING,
        *("log_format", "log_level", "quiet", "progress"),
    ),
)
def command(
    run: str | None,
    *,
    config_file: str | None,
    dry_run: bool,
    recover: bool,
    as_json: bool,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """Give each credential that RUN assigned back to whom it belonged before; without RUN, the latest run's.

    It needs the owners of before, which a run with --sync or --takeover refuse has read. A row whose owner was changed
    since the run stays as it is. Users that Seam created are not deleted.
    """
    if dry_run and (recover or flags["results"] is not None):
        raise UsageError("--dry-run writes no rows and sends none: leave --results and --recover out")
    if dry_run and any(flags[name] for name in _GUARDS):
        raise UsageError(
            "--dry-run sends nothing that could be stopped early: leave --max-failures, --canary and "
            "--fail-on-warning out"
        )
    settings = begin(flags, config_file, "the undo", own_results=True)

    from worker.cli.execution import conclude, execute  # noqa: PLC0415 - slow to import
    from worker.cli.summary import print_report  # noqa: PLC0415 - likewise
    from worker.undoing import plan_undo, undo_run  # noqa: PLC0415 - likewise

    if dry_run:
        plan = execute(settings, partial(plan_undo, run), is_told=False)
        conclude(plan, _print, as_json=as_json)
    report = execute(settings, partial(undo_run, run, recover=recover))
    conclude(report, print_report, as_json=as_json)


def _print(plan: UndoPlan) -> None:
    from worker.cli.page import cell, line, open_page, plain_table, stops  # noqa: PLC0415 - slow to import
    from worker.cli.words import amount  # noqa: PLC0415 - likewise

    with open_page() as console:
        line(console, f"Undo of run {plan.run_id} of {plan.name}: nothing was sent", "bold")
        if plan.undone_by is not None:
            line(console, f"The run was undone already, by run {plan.undone_by}; what follows is how it stands now")
        stops(console, plan.stops)
        table = plain_table("undo", "rows", "meaning", numbers=("rows",))
        for word, rows, meaning in (
            ("give back", plan.give_back, "to the person who had it before"),
            ("unassign", plan.unassign, "nobody had it before"),
            ("changed since", plan.changed_since, "somebody changed its owner after the run: it stays as it is"),
            ("missing", plan.missing, "Seam knows no such credential any more"),
            ("unreadable", plan.unreadable, "whose it is could not be read"),
            ("not undoable", plan.not_undoable, "who had it before, or whom the run gave it to, was not recorded"),
        ):
            if rows:
                table.add_row(cell(word), amount(rows), cell(meaning))
        table.add_section()
        table.add_row("all", amount(plan.rows), "")
        console.print(table)
