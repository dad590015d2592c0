"""`assign-worker fleet init`: the tables of a fleet."""

from __future__ import annotations

from typing import Any

import click

from worker.cli.fleet.ledger import ledger_of
from worker.cli.loading import load, start_logs
from worker.cli.options import GroupedCommand, config, declare, ledger_on_server, setting, takes_no_key

__all__ = ["command"]


@click.command("init", cls=GroupedCommand, epilog="Exit codes: 0 they are there; 2 the server cannot be used.")
@declare(takes_no_key, ledger_on_server, config, setting("log_level"))
def command(*, config_file: str | None, **flags: Any) -> None:  # noqa: ANN401 - settings
    """Make the ledger and the fleet's tables, where they are not there yet.

    `submit` and `worker` do so too; this one is for a role that may, where theirs may not.
    """
    settings = load(flags, config_file, keys=False)
    start_logs(settings)
    url = ledger_of(settings)

    from worker.fleet import install  # noqa: PLC0415 - slow to import
    from worker.ledger import Ledger  # noqa: PLC0415 - likewise

    with Ledger(url, exclusive=True) as ledger:
        is_new = install(ledger.engine)
        place = ledger.place
    click.echo(f"{'Made the tables of a fleet' if is_new else 'The tables of a fleet are there'}: {place}")
