"""`assign-worker fleet cancel`: no more of a run."""

from __future__ import annotations

from typing import Any

import click

from worker.cli.fleet.ledger import ledger_of
from worker.cli.loading import load, start_logs
from worker.cli.options import GroupedCommand, config, declare, ledger_on_server, setting, takes_no_key
from worker.errors import UsageError

__all__ = ["command"]


@click.command(
    "cancel",
    cls=GroupedCommand,
    epilog="""Rows that were not sent stay pending; `fleet submit` of the same file lets the run go on.

    Exit codes: 0 it is cancelled; 2 there is no such run, it is not a fleet's, or it is not under way.""",
)
@click.argument("run")
@declare(takes_no_key, ledger_on_server, config, setting("log_level"))
def command(run: str, *, config_file: str | None, **flags: Any) -> None:  # noqa: ANN401 - settings
    """Have no more of RUN sent; what is in flight ends, and is recorded."""
    settings = load(flags, config_file, keys=False)
    start_logs(settings)
    url = ledger_of(settings)

    from worker.fleet import cancel, is_fleets  # noqa: PLC0415 - slow to import
    from worker.ledger import Ledger  # noqa: PLC0415 - likewise
    from worker.ledger.runs import get_run  # noqa: PLC0415 - likewise

    with Ledger(url, exclusive=True) as ledger:
        found = get_run(ledger.engine, run)
        if not is_fleets(found) or found.state != "open":
            raise UsageError(f"run {found.id} is {found.state if is_fleets(found) else 'not of a fleet'}")
        stopped = cancel(ledger.engine, found, "cancelled; `assign-worker fleet submit` of the same file lets it go on")
    click.echo(f"Run {found.id} is cancelled: {stopped} job{' that was' if stopped == 1 else 's that were'} not done.")
