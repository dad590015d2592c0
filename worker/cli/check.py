"""`assign-worker check`: what is wrong with a file of jobs, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from worker.cli.loading import load, start_logs
from worker.cli.options import GroupedCommand, as_json, config, declare, setting, takes_no_key

__all__ = ["command"]


@click.command(
    "check",
    cls=GroupedCommand,
    epilog="Exit codes: 0 every row can be sent (duplicates apart, of which the first goes); 1 some row is invalid or "
    "in conflict; 2 the file cannot be read.",
)
@click.argument("jobs", metavar="JOBS")
@declare(takes_no_key, setting("format", "encoding", "map"), as_json, config, setting("log_level"))
def command(
    jobs: str,
    *,
    as_json: bool,
    config_file: str | None,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """Find every bad row, duplicate and conflict in JOBS (- is stdin), with its row, line and column.

    Nothing is sent, no key is needed, no ledger is touched.
    """
    settings = load(flags, config_file, keys=False)
    start_logs(settings)

    from worker.checking import check_input  # noqa: PLC0415 - slow to import
    from worker.cli.findings import print_findings, write_findings  # noqa: PLC0415 - likewise
    from worker.readers import ReadOptions  # noqa: PLC0415 - likewise

    with check_input(None if jobs == "-" else Path(jobs), ReadOptions.of(settings.input)) as report:
        if as_json:
            write_findings(report)
        else:
            print_findings(report, jobs)
    raise click.exceptions.Exit(report.exit_code)
