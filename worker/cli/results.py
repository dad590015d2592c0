"""`assign-worker results`: a run's rows out of the ledger."""

from __future__ import annotations

from typing import Any, Literal

import click

from worker.cli.loading import load, open_ledger, start_logs
from worker.cli.options import GroupedCommand, config, declare, ledger_here, option, setting, takes_no_key

__all__ = ["command"]


@click.command(
    "results",
    cls=GroupedCommand,
    epilog="Exit codes: 0 it is written, whatever the run came to; 2 there is no such run or ledger, or FILE cannot be "
    "used; 3 it could not be written.",
)
@click.argument("run", required=False)
@declare(
    takes_no_key,
    option("Options", "-o", "--output", metavar="FILE", default="-", help="Default: -, which is stdout."),
    option(
        "Options",
        "--format",
        "kind",
        type=click.Choice(["csv", "jsonl"]),
        metavar="csv|jsonl",
        help="Default: by FILE's name, else as the input was.",
    ),
    setting("include_codes", "raw_cells"),
    ledger_here,
    config,
    setting("log_level"),
)
def command(
    run: str | None,
    *,
    output: str,
    kind: Literal["csv", "jsonl"] | None,
    config_file: str | None,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """Export the results of RUN, one record a row, in input order.

    RUN is an id that `runs` lists; without it, the latest. Codes that the run did not record cannot be exported:
    give --include-codes to `run` too.
    """
    settings = load(flags, config_file, keys=False)
    start_logs(settings)

    from worker.cli.export import export  # noqa: PLC0415 - slow to import

    with open_ledger(settings) as ledger:
        export(ledger.engine, run, output, kind, settings)
