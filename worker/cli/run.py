"""`assign-worker run`: the main job."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from worker.cli.loading import begin
from worker.cli.options import TELLING, GroupedCommand, as_json, config, declare, option, recover, setting, takes_no_key

__all__ = ["command"]

STDIN: Final = "-"


@click.command(
    "run",
    cls=GroupedCommand,
    epilog="""Keys come from SEAM_API_KEY (or SEAM_PERSONAL_ACCESS_TOKEN with SEAM_WORKSPACE_ID), or from the
    files that --config names. What a file of settings may hold is a variable too: ASSIGN_WORKER_MAX_ATTEMPTS.

    Exit codes: 0 every row is assigned or unchanged; 1 some row needs a look; 2 nothing was sent; 3 stopped
    early, resumable; 4 another process holds the ledger; 130 and 143 interrupted, resumable.""",
)
@click.argument("jobs", metavar="JOBS")
@declare(
    takes_no_key,
    config,
    option("Options", "--again", is_flag=True, default=False, help="Send a finished input once more, as a new run."),
    recover,
    option(
        "Options",
        "--simulate",
        is_flag=True,
        default=False,
        help="Rehearse against a local look-alike; no key needed.",
    ),
    option("Options", "--confirm", is_flag=True, default=False, help="Show what is about to be sent, and ask."),
    as_json,
    setting(
        *("format", "encoding", "map"),
        *("ledger", "results", "name", "include_codes", "raw_cells"),
        *("endpoint", "proxy", "ca_file"),
        *("concurrency", "rate", "timeout", "max_attempts", "outage_patience", "details", "sync", "takeover"),
        *("max_failures", "max_takeovers", "canary", "fail_on_warning", "allow_shrink", "deadline"),
        *TELLING,
        *("log_format", "log_level", "quiet", "progress"),
    ),
)
def command(  # noqa: PLR0913 - one parameter an option
    jobs: str,
    *,
    config_file: str | None,
    again: bool,
    recover: bool,
    simulate: bool,
    confirm: bool,
    as_json: bool,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """Send every assignment of JOBS (CSV or JSONL, plain, .gz or .zst; - is stdin).

    Results go into the ledger and a file beside JOBS. The same command again goes on where this one stopped;
    what is settled is not sent again.
    """
    settings = begin(flags, config_file, f"the run of {jobs}", keys=not simulate)

    from worker.batch import run_batch  # noqa: PLC0415 - slow to import
    from worker.cli.execution import conclude, execute  # noqa: PLC0415 - likewise
    from worker.cli.summary import print_report  # noqa: PLC0415 - likewise

    source = None if jobs == STDIN else Path(jobs)
    call = partial(run_batch, source, again=again, recover=recover, rehearsal=simulate)
    if confirm:
        from worker.cli.confirming import ask, require_terminal  # noqa: PLC0415 - likewise

        require_terminal(reads_stdin=source is None)
        call = partial(call, confirm=ask)
    name = "stdin" if source is None else source.name
    report = execute(settings, call, source=source, name=name, simulate=simulate)
    conclude(report, print_report, as_json=as_json)
