"""`assign-worker show`: the summary of a run, as it was at its end or is now."""

from __future__ import annotations

from typing import Any

import click

from worker.cli.loading import load, open_ledger, start_logs
from worker.cli.options import GroupedCommand, as_json, config, declare, ledger_here, setting, takes_no_key
from worker.cli.stdout import print_json

__all__ = ["command"]


@click.command(
    "show",
    cls=GroupedCommand,
    epilog="Exit codes: 0 it is shown, whatever the run came to (--json has the run's own, as exit_code); 2 there is "
    "no such run or ledger.",
)
@click.argument("run", required=False)
@declare(takes_no_key, ledger_here, as_json, config, setting("log_level"))
def command(
    run: str | None,
    *,
    config_file: str | None,
    as_json: bool,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """Show the summary of RUN: an id that `runs` lists; without it, the latest."""
    settings = load(flags, config_file, keys=False)
    start_logs(settings)

    from worker.cli.summary import print_report  # noqa: PLC0415 - slow to import
    from worker.ledger.chains import chain_of  # noqa: PLC0415 - likewise
    from worker.ledger.held import find_worker  # noqa: PLC0415 - likewise
    from worker.ledger.runs import get_run  # noqa: PLC0415 - likewise
    from worker.report import build_report  # noqa: PLC0415 - likewise

    with open_ledger(settings) as ledger:
        found = get_run(ledger.engine, run)
        last = chain_of(ledger.engine, found.run_no).last
        report = build_report(
            ledger.engine,
            found,
            at_work=find_worker(ledger.engine, last.run_no),
            ledger=ledger.place,
            rehearsal=ledger.is_rehearsal,
        )
    if as_json:
        print_json(report.as_dict())
    else:
        print_report(report)
