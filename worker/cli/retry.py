"""`assign-worker retry`: what did not succeed, once more."""

from __future__ import annotations

from functools import partial
from typing import Any

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

__all__ = ["command"]


@click.command(
    "retry",
    cls=GroupedCommand,
    epilog="""Exit codes: 0 every row of the run is assigned or unchanged now; 1 some row needs a look; 2 nothing was
    sent; 3 stopped early, resumable; 4 another process holds the ledger; 130 and 143 interrupted, resumable.""",
)
@click.argument("run", required=False)
@declare(
    takes_no_key,
    config,
    option(
        "Options",
        "--outcome",
        "outcomes",
        type=click.Choice(["failed", "in_doubt", "conflict"]),
        metavar="OUTCOME",
        multiple=True,
        help="All rows that are failed, in_doubt or conflict. Repeatable.",
    ),
    option(
        "Options",
        "--warning",
        "warnings",
        metavar="CODE",
        multiple=True,
        help="Assign once more what has this warning. Repeatable.",
    ),
    recover,
    as_json,
    ledger_here,
    option("Record", "--results", metavar="FILE", help="Default: NAME.results.csv or .jsonl beside the ledger's file."),
    setting(
        *("include_codes", "raw_cells"),
        *("endpoint", "proxy", "ca_file"),
        *("concurrency", "rate", "timeout", "max_attempts", "outage_patience", "details"),
    ),
    option(
        "Sending", "--takeover", metavar="allow|refuse", help="Replace another owner? Default: as the run was begun."
    ),
    setting("max_failures", "canary", "fail_on_warning", "deadline"),
    setting(*TELLING, "log_format", "log_level", "quiet", "progress"),
)
def command(  # noqa: PLR0913 - one parameter an option
    run: str | None,
    *,
    config_file: str | None,
    outcomes: tuple[str, ...],
    warnings: tuple[str, ...],
    recover: bool,
    as_json: bool,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """Send again what did not succeed in RUN: an id that `runs` lists; without it, the latest.

    By default that is what failed and may succeed now, and what is in doubt, which is read back first. The rows come
    from the ledger; results are written anew for the whole run. The same command again goes on where this one stopped.
    """
    settings = begin(flags, config_file, "this retry")

    from worker.cli.execution import conclude, execute  # noqa: PLC0415 - slow to import
    from worker.cli.summary import print_report  # noqa: PLC0415 - likewise
    from worker.retrying import retry_run  # noqa: PLC0415 - likewise

    report = execute(settings, partial(retry_run, run, outcomes=outcomes, warnings=warnings, recover=recover))
    conclude(report, print_report, as_json=as_json)
