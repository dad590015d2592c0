"""`assign-worker runs`: the history of a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli.loading import load, open_ledger, start_logs
from worker.cli.options import GroupedGroup, as_json, config, declare, ledger_here, option, setting, takes_no_key
from worker.cli.prune import command as prune
from worker.cli.stdout import print_json
from worker.cli.words import amount, moment, span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from worker.ledger.runs import Run
    from worker.models import Outcome

__all__ = ["command"]

_MOST: Final = 50
"""Runs on the page."""


@click.group(
    "runs",
    cls=GroupedGroup,
    invoke_without_command=True,
    subcommand_metavar="[prune]",
    epilog="Exit codes: 0 they are listed, also where there is none; 2 there is no such ledger.",
)
@declare(
    takes_no_key,
    option("Options", "--name", "only", metavar="NAME", help="Runs of this name alone."),
    ledger_here,
    as_json,
    config,
    setting("log_level"),
)
def command(
    *,
    only: str | None,
    config_file: str | None,
    as_json: bool,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """List the latest 50 runs of a ledger, newest first; with --json all."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    from worker.cli.page import open_page  # noqa: PLC0415 - slow to import
    from worker.ledger.queries import count_outcomes  # noqa: PLC0415 - likewise
    from worker.ledger.runs import list_runs  # noqa: PLC0415 - likewise

    settings = load(flags, config_file, keys=False)
    start_logs(settings)
    with open_ledger(settings) as ledger:
        rehearsal = ledger.is_rehearsal
        found = list_runs(ledger.engine, name=only, limit=None if as_json else _MOST + 1)
        shown = found if as_json else found[:_MOST]
        counted = [(run, count_outcomes(ledger.engine, run.run_no)) for run in shown]
    if as_json:
        print_json([_as_dict(run, counts) for run, counts in counted])
        return
    with open_page() as console:
        if rehearsal:
            console.print("REHEARSALS: nothing went to Seam", style="bold yellow")
        if counted:
            console.print(_table(counted))
            if len(found) > len(shown):
                console.print("There are earlier ones: --json tells them, or --name those of one name.")
        else:
            console.print("The ledger holds no run yet." if only is None else "The ledger holds no run of that name.")


command.add_command(prune)


def _as_dict(run: Run, counts: Mapping[Outcome, int]) -> dict[str, object]:
    return {
        "run_id": run.id,
        "kind": run.kind,
        "name": run.name,
        "input": run.input_name,
        "state": run.state,
        "rows": run.rows,
        "outcomes": {outcome.value: count for outcome, count in counts.items()},
        "started_at": run.started_at,
        "stopped_at": run.stopped_at,
        "sending_seconds": run.sending_seconds,
        "stop_cause": run.stop_cause,
        "workspace_id": run.workspace_id,
        "endpoint": run.endpoint,
    }


def _table(counted: Sequence[tuple[Run, Mapping[Outcome, int]]]) -> Table:
    from worker.cli.page import cell, plain_table  # noqa: PLC0415 - slow to import
    from worker.ledger.runs import RUN  # noqa: PLC0415 - likewise

    table = plain_table(
        *("run", "name", "state", "rows", "outcomes", "started", "sending"),
        numbers=("rows", "sending"),
        whole=("run",),
    )
    for run, counts in counted:
        state = run.state if run.state != "open" else f"open: {run.stop_cause or 'not ended'}"
        outcomes = ", ".join(f"{amount(count)} {outcome.value}" for outcome, count in counts.items() if count)
        table.add_row(
            run.id,
            cell(run.name if run.kind == RUN else f"{run.name} ({run.kind})"),
            state,
            amount(run.rows),
            outcomes,
            moment(run.started_at),
            span(run.sending_seconds),
        )
    return table
