"""`assign-worker fleet submit`: a file for the workers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli.fleet.ledger import ledger_of
from worker.cli.loading import load
from worker.cli.options import GroupedCommand, as_json, config, declare, ledger_on_server, option, setting, takes_no_key
from worker.cli.stdout import print_json
from worker.cli.words import amount

if TYPE_CHECKING:
    from worker.fleet import Submitted

__all__ = ["command"]

STDIN: Final = "-"


@click.command(
    "submit",
    cls=GroupedCommand,
    epilog="""The same command again only says that the run is there, and lets a cancelled one go on.

    Exit codes: 0 the workers have it; 2 it cannot be used, and nothing of it stays; 4 another process works on the
    unfinished run of the same name.""",
)
@click.argument("jobs", metavar="JOBS")
@declare(
    takes_no_key,
    config,
    option("Options", "--again", is_flag=True, default=False, help="Send a finished input once more, as a new run."),
    as_json,
    ledger_on_server,
    setting("name", "format", "encoding", "map", "endpoint", "include_codes"),
    option("Sending", "--takeover", metavar="allow|refuse", help="Replace another owner? Default: allow."),
    setting("log_level", "quiet", "progress"),
)
def command(
    jobs: str,
    *,
    config_file: str | None,
    again: bool,
    as_json: bool,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """Stage JOBS (- is stdin) in the ledger, by workspace, for the workers of its endpoint.

    The file is read once, in flat memory, and checked as a whole, as `run` does. No key is needed here.
    """
    settings = load(flags, config_file, keys=False)
    ledger_of(settings)

    from worker.cli.execution import execute  # noqa: PLC0415 - slow to import
    from worker.fleet import submit  # noqa: PLC0415 - likewise

    source = None if jobs == STDIN else Path(jobs)
    submitted = execute(settings, partial(_submit, partial(submit, source, again=again)), is_told=False)
    if as_json:
        run = submitted.run
        print_json({"run_id": run.id, "state": run.state, "rows": run.rows, "jobs": submitted.jobs})
    else:
        click.echo(_told(submitted))


async def _submit(call: Any, settings: Any, *, control: Any, watch: Any, **_: Any) -> Submitted:  # noqa: ANN401 - passed on
    submitted: Submitted = await call(settings, control=control, watch=watch)
    return submitted


def _told(submitted: Submitted) -> str:
    run = submitted.run
    if run.state == "finished":
        return f"Run {run.id} has already sent this input; --again sends it once more."
    if submitted.is_new:
        return f"Run {run.id}: {amount(run.rows)} rows in {amount(submitted.jobs)} jobs wait for workers."
    return f"Run {run.id} of this input is under way; `assign-worker fleet status {run.id}` shows how far it is."
